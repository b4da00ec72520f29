//! TIFF files made of known pictures: tiled pyramids as the TIFF 6.0 specification and its BigTIFF
//! extension lay them out, and small changes that break them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::picture::Picture;

/// Tags (TIFF 6.0, sections 8 and 15).
#[allow(missing_docs)]
pub mod tag {
    pub const NEW_SUBFILE_TYPE: u16 = 254;
    pub const IMAGE_WIDTH: u16 = 256;
    pub const IMAGE_LENGTH: u16 = 257;
    pub const BITS_PER_SAMPLE: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const ORIENTATION: u16 = 274;
    pub const SAMPLES_PER_PIXEL: u16 = 277;
    pub const PLANAR_CONFIGURATION: u16 = 284;
    pub const PREDICTOR: u16 = 317;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_LENGTH: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTE_COUNTS: u16 = 325;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const YCBCR_SUBSAMPLING: u16 = 530;
}

/// How tiles are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// Deflate, code 8, with or without the horizontal predictor.
    Deflate {
        /// Store differences of neighbors.
        predictor: bool,
    },
    /// JPEG of a quality, as YCbCr; each tile a whole file without shared tables.
    Jpeg(u8),
}

/// How a file is laid out.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// BigTIFF.
    pub big: bool,
    /// Byte order MM.
    pub big_endian: bool,
    /// Side of the tiles.
    pub tile: u32,
    /// Levels, the full size counted.
    pub levels: usize,
    /// How tiles are stored.
    pub compression: Compression,
    /// How the picture is to be turned (TIFF 6.0, tag 274); 1 is upright, and is not written.
    pub orientation: u16,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            big: false,
            big_endian: false,
            tile: 256,
            levels: 4,
            compression: Compression::Deflate { predictor: true },
            orientation: 1,
        }
    }
}

/// A TIFF file and where its parts are.
#[derive(Clone, Debug)]
pub struct TiffFile {
    /// The file.
    pub bytes: Vec<u8>,
    /// The pictures of its levels as they were stored (those in JPEG before their encoding).
    pub levels: Vec<Picture>,
    layout: Layout,
    /// For each directory, where each tag's value or the offset of its values is.
    places: Vec<BTreeMap<u16, usize>>,
    /// For each directory, where the offset of the next one is.
    links: Vec<usize>,
}

/// Values of a tag.
enum Values {
    Short(Vec<u16>),
    Long(Vec<u32>),
    Long8(Vec<u64>),
}

impl TiffFile {
    /// A tiled pyramid of a picture and its halves.
    #[must_use]
    pub fn pyramid(picture: &Picture, layout: Layout) -> Self {
        Self::of_levels(picture.pyramid(layout.levels), layout)
    }

    /// Tiled pictures, one directory after the other: levels if they become smaller, a stack if they are of
    /// one size. Their number is not taken from the layout.
    #[must_use]
    pub fn of_levels(levels: Vec<Picture>, layout: Layout) -> Self {
        let mut file = Self {
            bytes: Vec::new(),
            levels,
            layout,
            places: Vec::new(),
            links: Vec::new(),
        };
        file.bytes.extend(if layout.big_endian { b"MM" } else { b"II" });
        let mut link = if layout.big {
            file.push_16(43);
            file.push_16(8);
            file.push_16(0);
            8
        } else {
            file.push_16(42);
            4
        };
        file.push_word(0);
        for number in 0..file.levels.len() {
            let level = file.levels[number].clone();
            let (offsets, counts) = file.push_tiles(&level);
            let at = file.push_directory(number, &level, offsets, counts);
            file.put_word(link, at as u64);
            link = file.links[number];
        }
        file
    }

    /// One level of a great many tiles that all share the data of one: a small file that is much work.
    #[must_use]
    pub fn repeated(tile: &Picture, columns: u32, rows: u32) -> Self {
        let layout = Layout {
            tile: tile.width,
            levels: 1,
            compression: Compression::Deflate { predictor: false },
            ..Layout::default()
        };
        let mut file = Self::pyramid(tile, layout);
        let (offset, count) = (
            file.word(file.place(0, tag::TILE_OFFSETS)),
            file.word(file.place(0, tag::TILE_BYTE_COUNTS)),
        );
        let whole = Picture {
            width: tile.width * columns,
            height: tile.height * rows,
            bands: tile.bands,
            samples: Vec::new(),
        };
        let tiles = (columns * rows) as usize;
        let at = file.push_directory(0, &whole, vec![offset; tiles], vec![count; tiles]);
        let link = file.first_link();
        file.put_word(link, at as u64);
        file
    }

    /// Where the value of a tag is, or the offset of its values if it has many.
    ///
    /// # Panics
    /// When the directory has no such tag.
    #[must_use]
    pub fn place(&self, directory: usize, tag: u16) -> usize {
        self.places[directory][&tag]
    }

    /// The value at a place: the offset of an array, or one LONG (LONG8 in BigTIFF).
    #[must_use]
    pub fn word(&self, at: usize) -> u64 {
        let size = self.word_size();
        let bytes = &self.bytes[at..at + size];
        let fold = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        if self.layout.big_endian {
            bytes.iter().fold(0, fold)
        } else {
            bytes.iter().rev().fold(0, fold)
        }
    }

    /// Overwrites the word at a place.
    pub fn put_word(&mut self, at: usize, value: u64) {
        let size = self.word_size();
        let bytes = self.ordered(value, size);
        self.bytes[at..at + size].copy_from_slice(&bytes);
    }

    /// Overwrites the single LONG of a tag.
    pub fn set_long(&mut self, directory: usize, tag: u16, value: u32) {
        let at = self.place(directory, tag);
        let bytes = self.ordered(u64::from(value), 4);
        self.bytes[at..at + 4].copy_from_slice(&bytes);
    }

    /// Makes a directory the next of another one.
    pub fn link(&mut self, from: usize, to: u64) {
        let at = self.links[from];
        self.put_word(at, to);
    }

    /// Where the offset of the first directory is.
    #[must_use]
    pub fn first_link(&self) -> usize {
        if self.layout.big { 8 } else { 4 }
    }

    /// The offset and length of the data of a tile, of a level with several tiles.
    #[must_use]
    pub fn tile_data(&self, directory: usize, tile: usize) -> (u64, u64) {
        let item = |tag| {
            let array = self.word(self.place(directory, tag)) as usize;
            self.word(array + tile * self.word_size())
        };
        (item(tag::TILE_OFFSETS), item(tag::TILE_BYTE_COUNTS))
    }

    /// Overwrites the offset of a tile, of a level with several tiles.
    pub fn set_tile_offset(&mut self, directory: usize, tile: usize, offset: u64) {
        let array = self.word(self.place(directory, tag::TILE_OFFSETS)) as usize;
        self.put_word(array + tile * self.word_size(), offset);
    }

    /// Gives a tile other data, of a level with several tiles.
    pub fn set_tile_data(&mut self, directory: usize, tile: usize, data: &[u8]) {
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(data);
        self.set_tile_offset(directory, tile, offset);
        let array = self.word(self.place(directory, tag::TILE_BYTE_COUNTS)) as usize;
        self.put_word(array + tile * self.word_size(), data.len() as u64);
    }

    fn word_size(&self) -> usize {
        if self.layout.big { 8 } else { 4 }
    }

    fn ordered(&self, value: u64, size: usize) -> Vec<u8> {
        if self.layout.big_endian {
            value.to_be_bytes()[8 - size..].to_vec()
        } else {
            value.to_le_bytes()[..size].to_vec()
        }
    }

    fn push_16(&mut self, value: u16) {
        let bytes = self.ordered(u64::from(value), 2);
        self.bytes.extend(bytes);
    }

    fn push_word(&mut self, value: u64) {
        let bytes = self.ordered(value, self.word_size());
        self.bytes.extend(bytes);
    }

    /// Writes the tiles of a level and gives their offsets and lengths. Tiles at the right and lower edge
    /// are filled up by repeating the last column and row.
    fn push_tiles(&mut self, level: &Picture) -> (Vec<u64>, Vec<u64>) {
        let side = self.layout.tile;
        let (mut offsets, mut counts) = (Vec::new(), Vec::new());
        for row in 0..level.height.div_ceil(side) {
            for col in 0..level.width.div_ceil(side) {
                let tile = Picture::new(side, side, level.bands, |x, y, band| {
                    let (x, y) = (col * side + x, row * side + y);
                    level.at(x.min(level.width - 1), y.min(level.height - 1), band)
                });
                let data = compress(&tile, self.layout.compression);
                offsets.push(self.bytes.len() as u64);
                counts.push(data.len() as u64);
                self.bytes.extend(data);
                // Values begin at even offsets (TIFF 6.0, section 2).
                self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
            }
        }
        (offsets, counts)
    }

    fn push_directory(
        &mut self,
        number: usize,
        level: &Picture,
        offsets: Vec<u64>,
        counts: Vec<u64>,
    ) -> usize {
        use Values::{Long, Long8, Short};
        let jpeg = matches!(self.layout.compression, Compression::Jpeg(_));
        let words = |values: Vec<u64>, big: bool| {
            if big {
                Long8(values)
            } else {
                Long(values.into_iter().map(|v| v as u32).collect())
            }
        };
        let mut entries = BTreeMap::from([
            (tag::NEW_SUBFILE_TYPE, Long(vec![u32::from(number > 0)])),
            (tag::IMAGE_WIDTH, Long(vec![level.width])),
            (tag::IMAGE_LENGTH, Long(vec![level.height])),
            (tag::BITS_PER_SAMPLE, Short(vec![8; level.bands as usize])),
            (
                tag::COMPRESSION,
                Short(vec![match self.layout.compression {
                    Compression::None => 1,
                    Compression::Deflate { .. } => 8,
                    Compression::Jpeg(_) => 7,
                }]),
            ),
            (
                tag::PHOTOMETRIC,
                Short(vec![match level.bands {
                    1 => 1,
                    _ if jpeg => 6,
                    _ => 2,
                }]),
            ),
            (tag::SAMPLES_PER_PIXEL, Short(vec![level.bands as u16])),
            (tag::PLANAR_CONFIGURATION, Short(vec![1])),
            (tag::TILE_WIDTH, Long(vec![self.layout.tile])),
            (tag::TILE_LENGTH, Long(vec![self.layout.tile])),
            (tag::TILE_OFFSETS, words(offsets, self.layout.big)),
            (tag::TILE_BYTE_COUNTS, words(counts, self.layout.big)),
        ]);
        if let Compression::Deflate { predictor: true } = self.layout.compression {
            entries.insert(tag::PREDICTOR, Short(vec![2]));
        }
        if self.layout.orientation != 1 {
            entries.insert(tag::ORIENTATION, Short(vec![self.layout.orientation]));
        }
        if level.bands == 4 {
            // Unassociated alpha.
            entries.insert(tag::EXTRA_SAMPLES, Short(vec![2]));
        }
        if jpeg && level.bands == 3 {
            entries.insert(tag::YCBCR_SUBSAMPLING, Short(vec![1, 1]));
        }
        let word = self.word_size();
        let mut fields = Vec::new();
        for (tag, values) in entries {
            let (kind, size, numbers): (u16, usize, Vec<u64>) = match values {
                Short(v) => (3, 2, v.into_iter().map(u64::from).collect()),
                Long(v) => (4, 4, v.into_iter().map(u64::from).collect()),
                Long8(v) => (16, 8, v),
            };
            let mut bytes: Vec<u8> = numbers.iter().flat_map(|&n| self.ordered(n, size)).collect();
            if bytes.len() > word {
                let at = self.bytes.len() as u64;
                self.bytes.extend(bytes);
                self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
                bytes = self.ordered(at, word);
            }
            bytes.resize(word, 0);
            fields.push((tag, kind, numbers.len() as u64, bytes));
        }
        let start = self.bytes.len();
        if self.layout.big {
            self.push_word(fields.len() as u64);
        } else {
            self.push_16(fields.len() as u16);
        }
        let mut places = BTreeMap::new();
        for (tag, kind, count, value) in fields {
            self.push_16(tag);
            self.push_16(kind);
            self.push_word(count);
            places.insert(tag, self.bytes.len());
            self.bytes.extend(value);
        }
        self.places.push(places);
        self.links.push(self.bytes.len());
        self.push_word(0);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        start
    }
}

fn compress(tile: &Picture, compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => tile.samples.clone(),
        Compression::Jpeg(quality) => tile.to_jpeg(quality),
        Compression::Deflate { predictor } => {
            let differences = Picture::new(tile.width, tile.height, tile.bands, |x, y, band| {
                let before = if predictor && x > 0 {
                    tile.at(x - 1, y, band)
                } else {
                    0
                };
                tile.at(x, y, band).wrapping_sub(before)
            });
            deflate(&differences.samples)
        }
    }
}

/// A zlib stream.
#[must_use]
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
    let mut out = vec![0; compressor.zlib_compress_bound(bytes.len())];
    let length = compressor
        .zlib_compress(bytes, &mut out)
        .expect("a bound that holds");
    out.truncate(length);
    out
}

/// A folder of images for a host to serve.
#[derive(Debug)]
pub struct Images {
    folder: TempDir,
}

impl Images {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder }
    }

    /// A folder with `photo.tif`, and its picture: RGB, 1000x700, four levels, deflate.
    #[must_use]
    pub fn with_photo() -> (Self, Picture) {
        let images = Self::new();
        let photo = Picture::photograph(1000, 700, 3, 0);
        images.add("photo.tif", &TiffFile::pyramid(&photo, Layout::default()));
        (images, photo)
    }

    /// Adds a file, or replaces it at once, as a careful program does.
    pub fn add(&self, name: &str, file: &TiffFile) {
        self.write(name, &file.bytes);
    }

    /// Adds a file of any bytes, or replaces it at once.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        let beside = path.with_extension("new");
        std::fs::write(&beside, bytes).expect("a file");
        std::fs::rename(&beside, &path).expect("a file");
    }

    /// The path of a file in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Default for Images {
    fn default() -> Self {
        Self::new()
    }
}
