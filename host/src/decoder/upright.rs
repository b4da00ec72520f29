//! Pictures that are delivered upright (`ORIENTATION=apply`), whatever their format.
//!
//! A module delivers pixels as they are stored and says in the text `orientation` how they are to be turned. A reader
//! around it turns sizes, tiles and pixels, so that nothing behind it can tell such an image from one that is stored
//! upright: no protocol, no plan, no cache. Only stored tiles cannot be handed on.

use iiphost_plugin_api::{
    Cost, DecodeError, EncodedTile, ImageInfo, ImageReader, LevelInfo, MetadataKind, PixelBuffer,
    ReadContext, ReadRequest, Resolution, TileId,
};

use super::orientation::Orientation;

/// Name of the text that says how a picture is turned: tag 274 as a decimal number.
pub(super) const TEXT: &str = "orientation";

/// The reader of an image, turned upright if it is not.
pub(super) fn upright(reader: Box<dyn ImageReader>) -> Box<dyn ImageReader> {
    let text = reader.info().text.iter().find(|(name, _)| name == TEXT);
    let value = text.and_then(|(_, value)| std::str::from_utf8(value).ok()?.trim().parse().ok());
    let orientation = Orientation::from_tag(value.unwrap_or(1));
    if orientation == Orientation::UPRIGHT {
        return reader;
    }
    let info = turned(reader.info().clone(), orientation);
    Box::new(Upright {
        reader,
        orientation,
        info,
    })
}

/// A reader whose pictures are turned.
struct Upright {
    reader: Box<dyn ImageReader>,
    orientation: Orientation,
    info: ImageInfo,
}

/// What is said of an image, turned.
fn turned(mut info: ImageInfo, orientation: Orientation) -> ImageInfo {
    for page in &mut info.pages {
        for level in &mut page.levels {
            let (width, height) = orientation.size((level.width, level.height));
            let (tile_width, tile_height) = orientation.size((level.tile_width, level.tile_height));
            *level = LevelInfo {
                width,
                height,
                tile_width,
                tile_height,
                encoded: None,
                ..*level
            };
        }
        page.resolution = page.resolution.map(|resolution| {
            let (x, y) = orientation.size((resolution.x, resolution.y));
            Resolution { x, y, ..resolution }
        });
    }
    info
}

impl Upright {
    /// What has to be read for a request; `None` if it names nothing, which is for the reader to refuse.
    fn stored(&self, request: &ReadRequest) -> Option<ReadRequest> {
        let (_, level) = request.resolve(&self.info).ok()?;
        let region = self
            .orientation
            .stored(request.region, (level.width, level.height));
        Some(ReadRequest { region, ..*request })
    }
}

impl ImageReader for Upright {
    fn info(&self) -> &ImageInfo {
        &self.info
    }

    fn read(
        &self,
        request: &ReadRequest,
        out: &mut PixelBuffer<'_>,
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        let (page, _) = request.resolve(&self.info)?;
        out.check(page, &request.region)?;
        let Some(stored) = self.stored(request) else {
            return Err(DecodeError::usage("a region outside its level"));
        };
        let (width, height) = (stored.region.width, stored.region.height);
        let pixel = out.band_count() as usize * out.sample_format().bytes();
        let stride = width as usize * pixel;
        let bytes = u64::from(height).saturating_mul(stride as u64);
        ctx.limits.check_bytes(bytes)?;
        let len = usize::try_from(bytes)
            .map_err(|_| DecodeError::limit(format!("{bytes} bytes to turn a picture in")))?;
        let mut pixels = vec![0; len];
        let (bands, format) = (out.band_count(), out.sample_format());
        let mut whole = PixelBuffer::new(&mut pixels, width, height, bands, format, stride)?;
        self.reader.read(&stored, &mut whole, ctx)?;
        match pixel {
            1 => self.turn::<1>(&pixels, stride, out),
            2 => self.turn::<2>(&pixels, stride, out),
            3 => self.turn::<3>(&pixels, stride, out),
            4 => self.turn::<4>(&pixels, stride, out),
            6 => self.turn::<6>(&pixels, stride, out),
            8 => self.turn::<8>(&pixels, stride, out),
            _ => self.turn_any(pixel, &pixels, stride, out),
        }
        Ok(())
    }

    fn encoded_tile(&self, _: TileId, _: &ReadContext<'_>) -> Result<Option<EncodedTile>, DecodeError> {
        Ok(None)
    }

    fn metadata(&self, kind: MetadataKind, ctx: &ReadContext<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        self.reader.metadata(kind, ctx)
    }

    fn estimate(&self, request: &ReadRequest) -> Cost {
        self.stored(request)
            .map_or_else(Cost::default, |stored| self.reader.estimate(&stored))
    }
}

impl Upright {
    /// As [`turn_any`](Self::turn_any), for pixels of a size that is known here: copying them is a move then.
    fn turn<const PIXEL: usize>(&self, pixels: &[u8], stride: usize, out: &mut PixelBuffer<'_>) {
        self.turn_any(PIXEL, pixels, stride, out);
    }

    /// Puts the stored pixels of a region, `pixel` bytes each, where they belong.
    #[inline(always)]
    fn turn_any(&self, pixel: usize, pixels: &[u8], stride: usize, out: &mut PixelBuffer<'_>) {
        let size = (out.width(), out.height());
        let row_stride = out.row_stride();
        let target = out.bytes_mut();
        // A step to the right in what is stored is always the same step in what is shown.
        let at = |place: (u32, u32)| place.1 as usize * row_stride + place.0 as usize * pixel;
        for (number, row) in (0..).zip(pixels.chunks_exact(stride)) {
            let mut start = at(self.orientation.place((0, number), size));
            let mut step = 0;
            if row.len() > pixel {
                step = at(self.orientation.place((1, number), size)).wrapping_sub(start);
            }
            for stored in row.chunks_exact(pixel) {
                target[start..start + pixel].copy_from_slice(stored);
                start = start.wrapping_add(step);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use iiphost_plugin_api::{
        AlphaMode, CallContext, ColorModel, EncodedFormat, Limits, PageInfo, PlainServices, Region,
        ResolutionUnit, SampleFormat,
    };

    use super::*;

    /// Every pixel says where it is stored: two bands of 16 bits, column and row.
    struct Grid(ImageInfo);

    impl Grid {
        fn new(orientation: &str) -> Self {
            let level = LevelInfo {
                width: 7,
                height: 5,
                tile_width: 32,
                tile_height: 16,
                encoded: Some(EncodedFormat::Jpeg),
                computed: false,
            };
            let page = PageInfo {
                name: String::new(),
                scale: 1.0,
                listed: true,
                levels: vec![level],
                band_count: 2,
                sample_format: SampleFormat::U16,
                bit_depth: 16,
                signed: false,
                color_model: ColorModel::Multiband,
                alpha: AlphaMode::None,
                ranges: Vec::new(),
                resolution: Some(Resolution {
                    x: 100.0,
                    y: 200.0,
                    unit: ResolutionUnit::Inch,
                }),
                quality_layers: 1,
            };
            Self(ImageInfo {
                format: "test".into(),
                pages: vec![page],
                text: vec![(TEXT.into(), orientation.into())],
                warnings: Vec::new(),
            })
        }
    }

    impl ImageReader for Grid {
        fn info(&self) -> &ImageInfo {
            &self.0
        }

        fn read(
            &self,
            request: &ReadRequest,
            out: &mut PixelBuffer<'_>,
            _: &ReadContext<'_>,
        ) -> Result<(), DecodeError> {
            request.resolve(&self.0)?;
            let Region { x, y, width, height } = request.region;
            for row in 0..height {
                for col in 0..width {
                    let pixel = &mut out.row_mut(row)[col as usize * 4..][..4];
                    pixel[..2].copy_from_slice(&((x + col) as u16).to_ne_bytes());
                    pixel[2..].copy_from_slice(&((y + row) as u16).to_ne_bytes());
                }
            }
            Ok(())
        }

        fn encoded_tile(&self, _: TileId, _: &ReadContext<'_>) -> Result<Option<EncodedTile>, DecodeError> {
            Ok(Some(EncodedTile {
                format: EncodedFormat::Jpeg,
                width: 32,
                height: 16,
                bytes: vec![1],
            }))
        }

        fn estimate(&self, request: &ReadRequest) -> Cost {
            Cost {
                pixels_decoded: u64::from(request.region.width),
                ..Cost::default()
            }
        }
    }

    /// Where the pixel of the upright picture at column `x` and row `y` is stored in one of 7 x 5, by the words of
    /// the standard: value 6 means that row 0 is the right side of the picture and column 0 its top.
    fn stored(value: u16, x: u16, y: u16) -> (u16, u16) {
        match value {
            2 => (6 - x, y),
            3 => (6 - x, 4 - y),
            4 => (x, 4 - y),
            5 => (y, x),
            6 => (y, 4 - x),
            7 => (6 - y, 4 - x),
            8 => (6 - y, x),
            _ => (x, y),
        }
    }

    #[test]
    fn pixels_sizes_and_resolution_are_turned() {
        let services = PlainServices::default();
        let ctx = CallContext::new(Limits::default(), &services);
        for value in 1..=8_u16 {
            let reader = upright(Box::new(Grid::new(&value.to_string())));
            let page = reader.info().pages[0].clone();
            let level = page.levels[0];
            let swapped = value > 4;
            let sizes = (level.width, level.height, level.tile_width, level.tile_height);
            assert_eq!(
                sizes,
                if swapped { (5, 7, 16, 32) } else { (7, 5, 32, 16) },
                "{value}"
            );
            assert_eq!(page.resolution.unwrap().x, if swapped { 200.0 } else { 100.0 });
            let regions = [
                Region::new(0, 0, level.width, level.height),
                Region::new(1, 2, 3, 2),
                Region::new(level.width - 1, level.height - 1, 1, 1),
                Region::new(0, 3, level.width, 1),
            ];
            for region in regions {
                // Rows further apart than they are long: what is between them stays.
                let stride = region.width as usize * 4 + 3;
                let mut bytes = vec![0xee; stride * region.height as usize];
                let (width, height) = (region.width, region.height);
                let mut out =
                    PixelBuffer::new(&mut bytes, width, height, 2, SampleFormat::U16, stride).unwrap();
                let request = ReadRequest {
                    page: 0,
                    level: 0,
                    region,
                    quality_layers: 0,
                };
                reader.read(&request, &mut out, &ctx).unwrap();
                for (y, row) in (0_u32..).zip(bytes.chunks_exact(stride)) {
                    for (x, pixel) in (0_u32..).zip(row.chunks_exact(4).take(region.width as usize)) {
                        let (col, row) = stored(value, (region.x + x) as u16, (region.y + y) as u16);
                        let expected = [col.to_ne_bytes(), row.to_ne_bytes()].concat();
                        assert_eq!(pixel, expected, "{value}, {region:?} at {x}, {y}");
                    }
                    assert_eq!(row[region.width as usize * 4..], [0xee; 3]);
                }
                let cost = reader.estimate(&request).pixels_decoded;
                assert_eq!(
                    cost,
                    u64::from(if swapped { region.height } else { region.width })
                );
            }
        }
    }

    #[test]
    fn stored_tiles_are_handed_on_only_if_nothing_is_turned() {
        let services = PlainServices::default();
        let ctx = CallContext::new(Limits::default(), &services);
        let tile = TileId {
            page: 0,
            level: 0,
            tile_col: 0,
            tile_row: 0,
        };
        for value in ["1", "9", "sideways", ""] {
            let reader = upright(Box::new(Grid::new(value)));
            assert!(reader.info().pages[0].levels[0].encoded.is_some(), "{value}");
            assert!(reader.encoded_tile(tile, &ctx).unwrap().is_some());
        }
        let reader = upright(Box::new(Grid::new("2")));
        assert!(reader.info().pages[0].levels[0].encoded.is_none());
        assert!(reader.encoded_tile(tile, &ctx).unwrap().is_none());
        assert!(reader.info().pages[0].resolution.is_some());
    }

    #[test]
    fn a_region_outside_is_refused() {
        let services = PlainServices::default();
        let ctx = CallContext::new(Limits::default(), &services);
        let reader = upright(Box::new(Grid::new("6")));
        let mut bytes = [0; 7 * 5 * 4];
        let mut out = PixelBuffer::new(&mut bytes, 7, 5, 2, SampleFormat::U16, 28).unwrap();
        let request = ReadRequest {
            page: 0,
            level: 0,
            region: Region::new(0, 0, 7, 5),
            quality_layers: 0,
        };
        assert!(reader.read(&request, &mut out, &ctx).is_err());
        assert_eq!(reader.estimate(&request), Cost::default());
    }
}
