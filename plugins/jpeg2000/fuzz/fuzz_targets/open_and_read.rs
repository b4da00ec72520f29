//! Any bytes as a JPEG 2000 file: open, read corners of every level, ask for metadata.
//!
//! `cargo +nightly fuzz run open_and_read` in `plugins/jpeg2000`. Limits are small, so that running out of
//! memory or of time is a finding too. With `CFLAGS_x86_64_unknown_linux_gnu=-fsanitize=address` in the environment the C code
//! of the codec is watched as well (GCC or Clang).
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use iiphost_jpeg2000::Jpeg2000Decoder;
use iiphost_plugin_api::{
    CallContext, ImageDecoder, ImageReader, Limits, MetadataKind, PixelBuffer, PlainServices, ReadRequest,
    Region, row_bytes,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let services = PlainServices::with_time(Duration::from_secs(5));
    let limits = Limits {
        max_pixels: 1 << 22,
        max_bytes: 1 << 25,
        max_threads: 1,
    };
    let ctx = CallContext::new(limits, &services);
    if let Ok(reader) = Jpeg2000Decoder::default().open(Arc::new(file.to_vec()), &ctx) {
        exercise(&*reader, &ctx);
    }
});

/// Results are not looked at: only that there are some.
fn exercise(reader: &dyn ImageReader, ctx: &CallContext<'_>) {
    for (page_idx, page) in reader.info().pages.iter().enumerate() {
        for (level_idx, level) in page.levels.iter().enumerate().take(6) {
            let (page_idx, level_idx) = (page_idx as u32, level_idx as u32);
            let (width, height) = (level.width.min(40), level.height.min(40));
            for (x, y) in [(0, 0), (level.width - width, level.height - height)] {
                let request = ReadRequest {
                    page: page_idx,
                    level: level_idx,
                    region: Region::new(x, y, width, height),
                    quality_layers: 0,
                };
                reader.estimate(&request);
                let Some(row) = row_bytes(width, page.band_count, page.sample_format) else {
                    continue;
                };
                let mut bytes = vec![0; row * height as usize];
                let buffer = PixelBuffer::new(
                    &mut bytes,
                    width,
                    height,
                    page.band_count,
                    page.sample_format,
                    row,
                );
                if let Ok(mut buffer) = buffer {
                    let _ = reader.read(&request, &mut buffer, ctx);
                }
            }
        }
    }
    for kind in [MetadataKind::Icc, MetadataKind::Xmp, MetadataKind::Exif, MetadataKind::Iptc] {
        let _ = reader.metadata(kind, ctx);
    }
}
