//! The same picture as a master of each format that is served.

use iiphost_codestream::test_encoder::{Recipe, encode_samples};

use crate::fixture::{Images, Layout, TiffFile};
use crate::picture::Picture;

/// A file and what it shows.
#[derive(Clone, Debug)]
pub struct Master {
    /// Its name in the folder.
    pub name: &'static str,
    /// Its levels, largest first; sizes are exact, pixels only of the first.
    pub levels: Vec<Picture>,
    /// What the smaller levels are like to the averages in `levels`, in dB: codecs have their own filters.
    pub likeness: f64,
}

/// A folder with one picture as TIFF pyramid, lossless JPEG 2000 (one tile and many), and JPEG.
#[must_use]
pub fn masters() -> (Images, Vec<Master>) {
    let images = Images::new();
    let photo = Picture::photograph(1000, 700, 3, 0);
    let pyramid = photo.pyramid(3);
    let layout = Layout {
        levels: 3,
        ..Layout::default()
    };
    images.add("photo.tif", &TiffFile::pyramid(&photo, layout));
    images.write("photo.j2k", &jpeg2000(&photo, None));
    images.write("tiled.j2k", &jpeg2000(&photo, Some((300, 200))));
    let jpeg = photo.to_jpeg(95);
    images.write("photo.jpg", &jpeg);
    let decoded = Picture::from_jpeg(&jpeg).pyramid(3);
    let master = |name, levels: &[Picture], likeness| Master {
        name,
        levels: levels.to_vec(),
        likeness,
    };
    let masters = vec![
        master("photo.tif", &pyramid, 100.0),
        master("photo.j2k", &pyramid, 30.0),
        master("tiled.j2k", &pyramid, 30.0),
        master("photo.jpg", &decoded, 30.0),
    ];
    (images, masters)
}

/// A picture as a lossless codestream.
#[must_use]
pub fn jpeg2000(picture: &Picture, tile: Option<(u32, u32)>) -> Vec<u8> {
    let recipe = Recipe {
        tile,
        decompositions: 5,
        ..Recipe::new(picture.width, picture.height, picture.bands as usize, 8)
    };
    encode_samples(&recipe, |band, x, y| u32::from(picture.at(x, y, band as u32)))
}

/// A picture as a lossless JP2 file (ISO/IEC 15444-1 Annex I) in sRGB, with an EXIF block.
#[must_use]
pub fn jp2(picture: &Picture, exif: &[u8]) -> Vec<u8> {
    let boxed = |kind: &[u8; 4], body: &[u8]| {
        let len = (body.len() as u32 + 8).to_be_bytes();
        [&len, &kind[..], body].concat()
    };
    let [high, low] = (picture.bands as u16).to_be_bytes();
    let sides = [picture.height.to_be_bytes(), picture.width.to_be_bytes()].concat();
    let header = [
        boxed(b"ihdr", &[&sides[..], &[high, low, 7, 7, 0, 0]].concat()),
        boxed(b"colr", &[1, 0, 0, 0, 0, 0, 16]),
    ];
    [
        boxed(b"jP  ", b"\r\n\x87\n"),
        boxed(b"ftyp", b"jp2 \0\0\0\0jp2 "),
        boxed(b"jp2h", &header.concat()),
        boxed(b"jp2c", &jpeg2000(picture, None)),
        boxed(b"uuid", &[b"JpgTiffExif->JP2", exif].concat()),
    ]
    .concat()
}
