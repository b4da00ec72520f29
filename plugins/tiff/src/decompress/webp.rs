//! WebP (libtiff's private compression 50001): each block is a WebP file.

use iiphost_plugin_api::DecodeError;
use webp::{BitstreamFeatures, Decoder};

use crate::layout::{BlockSize, Layout};

pub(super) fn decompress(
    layout: &Layout,
    encoded: &[u8],
    stored: &mut [u8],
    size: BlockSize,
) -> Result<(), DecodeError> {
    // The header is checked first: the library allocates what it says.
    let features = BitstreamFeatures::new(encoded)
        .filter(|features| !features.has_animation())
        .ok_or_else(|| DecodeError::format("not a WebP still picture"))?;
    let (width, height) = (features.width(), features.height());
    if (width, height) != (size.width, size.rows) {
        return Err(DecodeError::format(format!(
            "WebP of {width}x{height} pixels, expected {}x{}",
            size.width, size.rows
        )));
    }
    let bands = usize::from(layout.samples_per_pixel);
    let picture = Decoder::new(encoded)
        .decode()
        .ok_or_else(|| DecodeError::format("corrupt WebP data"))?;
    match (bands, picture.is_alpha()) {
        (3, false) | (4, true) if picture.len() == stored.len() => stored.copy_from_slice(&picture),
        // A tile without a transparent pixel may be stored without alpha.
        (4, false) => {
            for (pixel, color) in stored.chunks_exact_mut(4).zip(picture.chunks_exact(3)) {
                pixel[..3].copy_from_slice(color);
                pixel[3] = 255;
            }
        }
        (3, true) => {
            for (pixel, color) in stored.chunks_exact_mut(3).zip(picture.chunks_exact(4)) {
                pixel.copy_from_slice(&color[..3]);
            }
        }
        _ => {
            return Err(DecodeError::unsupported(format!(
                "WebP with {bands} samples per pixel, expected 3 or 4"
            )));
        }
    }
    Ok(())
}
