//! JPEG (Adobe Technical Note 2 to TIFF 6.0): each block is a JPEG file, tables may be shared.
//!
//! The codec library reports errors by unwinding; that is caught here, around its calls alone, and becomes
//! an ordinary error.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use iiphost_plugin_api::DecodeError;
use mozjpeg::{ColorSpace, CompInfoExt, DctMethod, Decompress};

use crate::jpeg_markers::{Frame, JpegParts};
use crate::layout::{BlockSize, Layout};
use crate::photometric::Photometric;

/// Scans a progressive file may have: each one costs a pass over the block.
const MAX_SCANS: usize = 64;

pub(super) fn decompress(
    layout: &Layout,
    encoded: &[u8],
    stored: &mut [u8],
    size: BlockSize,
) -> Result<(), DecodeError> {
    let tables = layout.jpeg_tables.as_deref();
    let parts = JpegParts::new(tables, encoded)?;
    let frame = parts.frame();
    let samples = layout.samples_together();
    check_frame(frame, size, samples)?;
    if frame.progressive && parts.scan_count() > MAX_SCANS {
        return Err(DecodeError::limit(format!(
            "a JPEG of more than {MAX_SCANS} scans"
        )));
    }
    let output = match samples {
        1 => Output::Colors(ColorSpace::JCS_GRAYSCALE),
        2 if !frame.is_subsampled() && frame.components[0].1 & 15 <= 2 => Output::Planes,
        3 => Output::Colors(ColorSpace::JCS_RGB),
        4 => Output::Colors(ColorSpace::JCS_CMYK),
        _ => {
            return Err(DecodeError::unsupported(format!(
                "JPEG with {samples} samples per pixel, expected 1, 3, 4 or 2 of one size"
            )));
        }
    };
    // An Adobe marker of our own says what TIFF says about the colors; those of the file are left out.
    // With a fourth sample it would take YCbCr for YCCK, so that is turned behind it.
    let is_turned = layout.photometric == Photometric::YCbCr && layout.codec_turns_ycbcr();
    let transform = u8::from(is_turned);
    let exhausted = Cell::new(false);
    let reader = Pieces {
        rest: parts.pieces(Some(transform)),
        next: 0,
        exhausted: &exhausted,
    };
    // The library's state is dropped during unwinding, and `stored` is not used after an error.
    let result = catch_unwind(AssertUnwindSafe(|| run(reader, output, frame, size, stored)));
    match result {
        Ok(Ok(())) if exhausted.get() => Err(DecodeError::format("the JPEG data ends early")),
        Ok(result) => result,
        Err(payload) => Err(DecodeError::format(match payload.downcast_ref::<String>() {
            Some(message) => format!("JPEG: {}", message.trim_start_matches("libjpeg fatal error: ")),
            None => "JPEG: the codec failed".into(),
        })),
    }
}

/// Checks the frame against the block.
fn check_frame(frame: &Frame, size: BlockSize, samples: u16) -> Result<(), DecodeError> {
    if frame.precision != 8 {
        return Err(DecodeError::unsupported(format!(
            "JPEG with {} bits per sample, expected 8",
            frame.precision
        )));
    }
    if frame.component_count() != usize::from(samples) {
        return Err(DecodeError::format(format!(
            "JPEG with {} components, expected {samples}",
            frame.component_count()
        )));
    }
    let (width, height) = (u32::from(frame.width), u32::from(frame.height));
    if !size.fits(width, height) {
        return Err(DecodeError::format(format!(
            "JPEG of {width}x{height} pixels, expected {}x{}",
            size.width, size.rows
        )));
    }
    Ok(())
}

/// In which form the codec gives the samples.
#[derive(Clone, Copy)]
enum Output {
    Colors(ColorSpace),
    /// Component by component: the codec has no name for two of them.
    Planes,
}

fn run(
    reader: Pieces<'_>,
    output: Output,
    frame: &Frame,
    size: BlockSize,
    stored: &mut [u8],
) -> Result<(), DecodeError> {
    let failed = |error: io::Error| DecodeError::format(format!("JPEG: {error}"));
    let mut decompress = Decompress::new_reader(reader).map_err(failed)?;
    decompress.dct_method(DctMethod::IntegerSlow);
    decompress.do_fancy_upsampling(true);
    let started = match output {
        Output::Colors(space) => decompress.to_colorspace(space),
        Output::Planes => decompress.raw(),
    };
    let mut started = started.map_err(failed)?;
    let row_bytes = usize::from(frame.width) * frame.component_count();
    let expected = (usize::from(frame.width), usize::from(frame.height));
    if (started.width(), started.height()) != expected || stored.len() != row_bytes * size.rows as usize {
        return Err(DecodeError::format("JPEG: the codec found another size"));
    }
    if let Output::Planes = output {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        started.read_raw_data(&mut [&mut first, &mut second]);
        let width = usize::from(frame.width);
        // Rows of a plane are filled up to whole blocks.
        let row_len = started.components().first().map_or(0, CompInfoExt::row_stride);
        let planes = first
            .chunks_exact(row_len.max(1))
            .zip(second.chunks_exact(row_len.max(1)));
        for (row, (first, second)) in stored.chunks_exact_mut(2 * width).zip(planes) {
            for (pixel, (a, b)) in row.chunks_exact_mut(2).zip(first.iter().zip(second)) {
                pixel.copy_from_slice(&[*a, *b]);
            }
        }
        return Ok(());
    }
    // Whole rows, not more than the frame has: `check_frame` saw to it.
    started.read_scanlines_into(stored).map_err(failed)?;
    Ok(())
}

/// The parts of a JPEG one after the other, without copying them together.
struct Pieces<'a> {
    rest: Vec<&'a [u8]>,
    next: usize,
    /// Set when the codec wanted more bytes than there are.
    exhausted: &'a Cell<bool>,
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.rest.get(self.next).is_some_and(|piece| piece.is_empty()) {
            self.next += 1;
        }
        match self.rest.get(self.next) {
            Some(piece) => Ok(piece),
            None => {
                self.exhausted.set(true);
                Ok(&[])
            }
        }
    }

    fn consume(&mut self, count: usize) {
        if let Some(piece) = self.rest.get_mut(self.next) {
            *piece = &piece[count.min(piece.len())..];
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use crate::ifd::ByteOrder;
    use crate::test_file::{Image, jpeg, open, read_level, write};
    use iiphost_plugin_api::{ColorModel, ErrorKind};

    fn smooth(bands: u32) -> Vec<u8> {
        (0..32 * 32 * bands)
            .map(|i| (i / bands % 32 * 4 + i / bands / 32 * 2 + i % bands * 20) as u8)
            .collect()
    }

    fn decoded(image: Image) -> Result<Vec<u8>, iiphost_plugin_api::DecodeError> {
        let reader = open(write(&[image], ByteOrder::Little, false))?;
        read_level(&*reader, 0, 0)
    }

    fn image(bands: u32, block: Vec<u8>) -> Image {
        let mut image = Image::new(32, 32, bands, 8).tiled(32, 32).compressed(7);
        image.blocks = Some(vec![block]);
        image
    }

    #[test]
    fn inks_are_delivered_as_they_are_stored() {
        let pixels = smooth(4);
        let image = image(4, jpeg(&pixels, 32, 32, 4, false, (1, 1))).photometric(5);
        let reader = open(write(&[image], ByteOrder::Little, false)).unwrap();
        assert_eq!(reader.info().pages[0].color_model, ColorModel::Cmyk);
        let found = read_level(&*reader, 0, 0).unwrap();
        assert!(found.iter().zip(&pixels).all(|(a, b)| a.abs_diff(*b) < 12));
    }

    #[test]
    fn progressive_blocks_are_read_but_not_with_scans_without_end() {
        let pixels = smooth(1);
        let mut compress = mozjpeg::Compress::new(mozjpeg::ColorSpace::JCS_GRAYSCALE);
        compress.set_size(32, 32);
        compress.set_quality(95.0);
        compress.set_progressive_mode();
        let mut started = compress.start_compress(Vec::new()).unwrap();
        started.write_scanlines(&pixels).unwrap();
        let block = started.finish().unwrap();
        let found = decoded(image(1, block.clone())).unwrap();
        assert!(found.iter().zip(&pixels).all(|(a, b)| a.abs_diff(*b) < 12));
        let scan = block.windows(2).rposition(|w| w == [0xff, 0xda]).unwrap();
        let last = &block[scan..block.len() - 2];
        let many = [&block[..scan], &last.repeat(100), &[0xff, 0xd9]].concat();
        assert_eq!(
            decoded(image(1, many)).unwrap_err().kind(),
            ErrorKind::LimitExceeded
        );
    }

    #[test]
    fn a_frame_of_another_size_or_number_of_bands_is_named() {
        let small = jpeg(&[9; 24 * 32], 32, 24, 1, false, (1, 1));
        let error = decoded(image(1, small)).unwrap_err();
        assert!(
            error.message().ends_with("JPEG of 32x24 pixels, expected 32x32"),
            "{error}"
        );
        let grey = jpeg(&smooth(1), 32, 32, 1, false, (1, 1));
        let error = decoded(image(3, grey)).unwrap_err();
        assert!(
            error.message().ends_with("JPEG with 1 components, expected 3"),
            "{error}"
        );
    }

    #[test]
    fn a_block_cut_anywhere_is_an_error_not_a_grey_picture() {
        let whole = jpeg(&smooth(3), 32, 32, 3, true, (2, 2));
        assert!(decoded(image(3, whole.clone()).photometric(6)).is_ok());
        for len in 1..whole.len() - 2 {
            let cut = image(3, whole[..len].to_vec()).photometric(6);
            assert_eq!(decoded(cut).unwrap_err().kind(), ErrorKind::Format, "{len} bytes");
        }
    }
}
