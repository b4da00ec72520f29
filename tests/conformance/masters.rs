//! Five images whose every pixel is known, of the sizes at which rounding goes wrong.

use std::sync::OnceLock;

use support::Server;
use support::fixture::{Images, Layout, TiffFile};
use support::picture::Picture;
use support::server::Settings;

/// The longest side of a picture that the host under test gives.
pub(crate) const MAX_SIDE: u32 = 1500;

/// Side of the tiles.
pub(crate) const TILE: u32 = 256;

/// An image on disk.
#[derive(Debug)]
pub(crate) struct Master {
    /// Its file name.
    pub(crate) name: &'static str,
    /// Its full size.
    pub(crate) picture: Picture,
    /// Its levels as the host sees them, the full size first.
    pub(crate) levels: Vec<(u32, u32)>,
    file: TiffFile,
}

impl Master {
    fn new(name: &'static str, levels: Vec<Picture>) -> Self {
        let picture = levels[0].clone();
        let mut sizes: Vec<(u32, u32)> = levels.iter().map(Picture::size).collect();
        if let [(mut w, mut h)] = sizes[..] {
            // An image with one stored level has its halves, too.
            while w > TILE || h > TILE {
                (w, h) = ((w / 2).max(1), (h / 2).max(1));
                sizes.push((w, h));
            }
        }
        Self {
            name,
            picture,
            levels: sizes,
            file: TiffFile::of_levels(levels, Layout::default()),
        }
    }

    /// The levels in the file.
    pub(crate) fn stored(&self) -> &[Picture] {
        &self.file.levels
    }
}

/// The images: grey, RGB, RGB with alpha; one, few and many levels, halves and thirds.
pub(crate) fn masters() -> &'static [Master] {
    static MASTERS: OnceLock<Vec<Master>> = OnceLock::new();
    MASTERS.get_or_init(|| {
        let halves =
            |width, height, bands, count| Picture::photograph(width, height, bands, width).pyramid(count);
        // Slow enough to be itself after 128 rows have become one.
        let line = Picture::new(1, 20_000, 3, |_, y, band| {
            let y = f64::from(y);
            let value = match band {
                0 => 127.0 + 100.0 * (y / 900.0).sin(),
                1 => 255.0 * y / 20_000.0,
                _ => 127.0 + 100.0 * (y / 2500.0).cos(),
            };
            value.round() as u8
        });
        let large = Picture::photograph(3000, 2000, 3, 5);
        let thirds = vec![large.resize(1000, 667), large.resize(333, 222)];
        vec![
            Master::new("dot.tif", halves(1, 1, 3, 1)),
            Master::new("grey.tif", halves(255, 257, 1, 1)),
            Master::new("alpha.tif", halves(1023, 769, 4, 3)),
            Master::new("line.tif", line.pyramid(8)),
            Master::new("thirds.tif", [vec![large], thirds].concat()),
        ]
    })
}

/// A host that serves them.
pub(crate) fn serve() -> (Images, Server) {
    let images = Images::new();
    for master in masters() {
        images.add(master.name, &master.file);
    }
    let server = Settings::new(images.folder())
        .with("MAX_CVT", MAX_SIDE.to_string())
        .with("CORS", "*")
        .with("JPEG_QUALITY", "95")
        .start();
    (images, server)
}
