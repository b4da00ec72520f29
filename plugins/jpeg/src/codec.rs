//! From a complete JPEG to rows of samples, by the codec library.
//!
//! The library reports errors by unwinding; that is caught here, around its calls alone.

use std::io::BufRead;
use std::panic::{AssertUnwindSafe, catch_unwind};

use iiphost_plugin_api::DecodeError;
use mozjpeg::{ColorSpace, DctMethod, Decompress};

use crate::header::Coding;

/// Takes a row of samples and its number from 0.
pub(crate) type TakeRow<'a> = dyn FnMut(u32, &[u8]) -> Result<(), DecodeError> + 'a;

/// How to decode.
pub(crate) struct Decoding {
    pub(crate) coding: Coding,
    /// Each side is divided by 2 to this power, 0 to 3, rounded up.
    pub(crate) halvings: u32,
    /// Rows left out at the top.
    pub(crate) first_row: u32,
    /// Rows wanted.
    pub(crate) rows: u32,
    /// Columns of the decoded picture, to check it.
    pub(crate) width: u32,
}

/// Decodes a JPEG of bands grey, RGB or CMYK and gives its rows to `take` with their number from 0.
///
/// # Errors
/// `Format` for what the library refuses, or the error of `take`.
pub(crate) fn decode(
    file: impl BufRead,
    decoding: &Decoding,
    take: &mut TakeRow<'_>,
) -> Result<(), DecodeError> {
    // The library's state is dropped during unwinding, and rows after an error are not used.
    match catch_unwind(AssertUnwindSafe(|| run(file, decoding, take))) {
        Ok(result) => result,
        Err(payload) => {
            let message = payload.downcast_ref::<String>();
            match message.and_then(|message| message.strip_prefix("libjpeg fatal error: ")) {
                Some(message) => Err(DecodeError::format(format!("JPEG: {message}"))),
                // Not the library's way of reporting: a fault of ours, for the export layer to report.
                None => std::panic::resume_unwind(payload),
            }
        }
    }
}

fn run(file: impl BufRead, decoding: &Decoding, take: &mut TakeRow<'_>) -> Result<(), DecodeError> {
    let failed = |error: std::io::Error| DecodeError::format(format!("JPEG: {error}"));
    let mut codec = Decompress::new_reader(file).map_err(failed)?;
    codec.dct_method(DctMethod::IntegerSlow);
    codec.do_fancy_upsampling(true);
    codec.scale(8 >> decoding.halvings.min(3));
    let (space, bands) = match decoding.coding {
        Coding::Grey => (ColorSpace::JCS_GRAYSCALE, 1),
        Coding::YCbCr | Coding::Rgb => (ColorSpace::JCS_RGB, 3),
        Coding::Cmyk | Coding::Ycck => (ColorSpace::JCS_CMYK, 4),
    };
    let mut codec = codec.to_colorspace(space).map_err(failed)?;
    let needed = decoding.first_row as usize + decoding.rows as usize;
    if codec.width() != decoding.width as usize || codec.height() < needed {
        return Err(DecodeError::new(
            iiphost_plugin_api::ErrorKind::Internal,
            format!(
                "an excerpt of {}x{} pixels, expected {}x{needed} or more",
                codec.width(),
                codec.height(),
                decoding.width
            ),
        ));
    }
    let mut row = vec![0; decoding.width as usize * bands];
    for _ in 0..decoding.first_row {
        codec.read_scanlines_into(&mut row).map_err(failed)?;
    }
    for number in 0..decoding.rows {
        codec.read_scanlines_into(&mut row).map_err(failed)?;
        take(number, &row)?;
    }
    Ok(())
}
