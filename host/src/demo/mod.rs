//! Pictures to look at when there are no others: `iiphost demo DIR`.
//!
//! Each is computed, not stored: a pure function of the place, the same on every machine, painted in
//! parallel row by row and written by the same pass as any other pyramid.

mod atlas;
mod engraving;
mod landscape;
mod lettering;
mod noise;

use std::path::PathBuf;

use rayon::prelude::*;

use crate::encode::tiff::{Compression, Metadata, PixelLayout};
use crate::limits::Size;
use crate::pyramid::{
    BoxError, Cancel, ConsoleProgress, Interrupt, Options, RowSource, SourceError, SourceInfo, build,
    describe, jpeg_compression,
};

/// Makes demo pyramids: a map of more than a gigapixel, a landscape, an engraving.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder for the pictures, made if missing
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Replace pictures that exist
    #[arg(long)]
    pub force: bool,
}

/// A picture that can be painted from any row on.
trait Scene: Sync {
    /// Size in pixels.
    fn size(&self) -> Size;

    /// 8-bit samples of each pixel.
    fn layout(&self) -> PixelLayout;

    /// Paints the rows from `first_row` on, as many as `rows` holds.
    fn paint(&self, first_row: u32, rows: &mut [u8]);

    /// What the picture shows, for its metadata.
    fn title(&self) -> &'static str;
}

/// Rows painted by one thread at a time: a divisor of the tile size, so that no share is short.
const ROWS_AT_ONCE: usize = 64;

struct SceneSource<S> {
    scene: S,
    info: SourceInfo,
    at: u32,
}

impl<S: Scene> SceneSource<S> {
    fn new(scene: S) -> Self {
        let info = SourceInfo {
            size: scene.size(),
            layout: scene.layout(),
        };
        Self { scene, info, at: 0 }
    }
}

impl<S: Scene> RowSource for SceneSource<S> {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn read_rows(&mut self, rows: &mut [u8]) -> Result<(), SourceError> {
        let row_bytes = self.info.row_bytes().unwrap_or(1);
        let first = self.at;
        rows.par_chunks_mut(ROWS_AT_ONCE * row_bytes)
            .enumerate()
            .for_each(|(share, rows)| self.scene.paint(first + (share * ROWS_AT_ONCE) as u32, rows));
        self.at += (rows.len() / row_bytes) as u32;
        Ok(())
    }

    fn metadata(&mut self) -> Result<Metadata, SourceError> {
        Ok(Metadata {
            text: vec![("title".into(), self.scene.title().into())],
            ..Metadata::default()
        })
    }
}

/// Runs the command: one line a picture on the output, progress on the error stream.
///
/// # Errors
/// What stopped it, for the user; finished pictures stay, no partial one does.
pub fn run(args: &Args) -> Result<(), BoxError> {
    std::fs::create_dir_all(&args.folder)
        .map_err(|e| format!("{} could not be made: {e}", args.folder.display()))?;
    let cancel = Cancel::default();
    let _interrupt = Interrupt::listen(cancel.clone())?;
    // The small ones first: something to look at while the large one is made.
    let make =
        |name: &str, compression, source: &mut dyn FnMut() -> Box<dyn RowSource>| -> Result<(), BoxError> {
            let path = args.folder.join(name);
            if path.exists() && !args.force {
                println!("{}: kept", path.display());
                return Ok(());
            }
            let options = Options {
                compression: Some(compression),
                force: args.force,
                cancel: cancel.clone(),
                ..Options::default()
            };
            let summary = build(source(), &path, &options, &ConsoleProgress::new(name))?;
            println!("{}: {}", path.display(), describe(&summary));
            Ok(())
        };
    make("landscape.tif", Compression::Deflate { level: 6 }, &mut || {
        Box::new(SceneSource::new(landscape::Landscape::new()))
    })?;
    make("engraving.tif", Compression::Zstandard { level: 5 }, &mut || {
        Box::new(SceneSource::new(engraving::Engraving::new()))
    })?;
    make("gigapixel.tif", jpeg_compression(80), &mut || {
        Box::new(SceneSource::new(atlas::Atlas::new(atlas::FULL_SIZE)))
    })
}

/// Linear blend of two colors.
fn mix(a: [f32; 3], b: [f32; 3], t: f32) -> [f32; 3] {
    [
        a[0] + (b[0] - a[0]) * t,
        a[1] + (b[1] - a[1]) * t,
        a[2] + (b[2] - a[2]) * t,
    ]
}

/// 0 below `low`, 1 above `high`, smooth between.
fn smooth_step(low: f32, high: f32, value: f32) -> f32 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(scene: &dyn Scene, first: u32, rows: usize) -> Vec<u8> {
        let row_bytes = scene.size().width as usize * scene.layout().pixel_bytes();
        let mut out = vec![0; rows * row_bytes];
        scene.paint(first, &mut out);
        out
    }

    #[test]
    fn a_row_is_the_same_whatever_share_it_is_painted_in() {
        let scenes: [&dyn Scene; 3] = [
            &atlas::Atlas::new(Size::new(3000, 2400)),
            &landscape::Landscape::new(),
            &engraving::Engraving::new(),
        ];
        for scene in scenes {
            let together = painted(scene, 1180, 12);
            let row_bytes = together.len() / 12;
            for row in [0, 5, 11] {
                let alone = painted(scene, 1180 + row as u32, 1);
                assert!(
                    alone == together[row * row_bytes..(row + 1) * row_bytes],
                    "{} row {row}",
                    scene.title()
                );
            }
            let (low, high) = together.iter().fold((255, 0), |(l, h), &v| (v.min(l), v.max(h)));
            assert!(high - low > 60, "{} shows nothing", scene.title());
        }
    }

    #[test]
    fn pictures_that_exist_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["gigapixel.tif", "landscape.tif", "engraving.tif"];
        for name in names {
            std::fs::write(folder.path().join(name), b"mine").unwrap();
        }
        let args = Args {
            folder: folder.path().to_owned(),
            force: false,
        };
        run(&args).unwrap();
        for name in names {
            assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), b"mine");
        }
    }

    #[test]
    fn the_map_has_more_than_a_gigapixel() {
        assert!(atlas::FULL_SIZE.pixels() > 1_000_000_000);
    }
}
