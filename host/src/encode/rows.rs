//! Pictures that come row by row.

use std::borrow::Cow;

use iiphost_plugin_api::{AlphaMode, ColorModel, SampleFormat};

use super::fault;
use crate::error::Error;
use crate::limits::Size;
use crate::raster::{Raster, color_band_count};

/// What a picture is, but for its pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Size in pixels.
    pub size: Size,
    /// Bands of a pixel, alpha included.
    pub band_count: u32,
    /// Meaning of the color bands.
    pub color_model: ColorModel,
    /// Whether the band after the color bands is opacity.
    pub alpha: AlphaMode,
    /// Significant bits of a sample.
    pub bit_depth: u32,
    /// Width of a sample.
    pub format: SampleFormat,
}

impl Shape {
    /// The shape of a picture.
    #[must_use]
    pub fn of(raster: &Raster) -> Self {
        Self {
            size: raster.size,
            band_count: raster.band_count,
            color_model: raster.color_model,
            alpha: raster.alpha,
            bit_depth: raster.bit_depth,
            format: raster.samples.format(),
        }
    }

    /// The shape of the whole of which a picture is some rows.
    #[must_use]
    pub fn of_part(part: &Raster, whole: Size) -> Self {
        Self {
            size: whole,
            ..Self::of(part)
        }
    }

    /// Bands that carry color.
    #[must_use]
    pub fn color_band_count(&self) -> u32 {
        color_band_count(self.color_model, self.alpha, self.band_count)
    }

    /// Bytes of a row of samples.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        (self.size.width as usize)
            .saturating_mul(self.band_count as usize)
            .saturating_mul(self.format.bytes())
    }

    /// Bytes of all samples.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.row_bytes().saturating_mul(self.size.height as usize)
    }
}

/// The rows of a picture from the top, a part after the other.
pub trait Rows {
    /// The next rows, a picture as wide as the whole and of its kind; `None` behind the last.
    ///
    /// # Errors
    /// Why there are none, though there should be.
    fn next_rows(&mut self) -> Result<Option<Cow<'_, Raster>>, Error>;
}

/// All rows of a picture at once.
#[derive(Debug)]
pub struct AtOnce<'a>(Option<&'a Raster>);

impl<'a> AtOnce<'a> {
    /// A picture as one part.
    #[must_use]
    pub fn new(raster: &'a Raster) -> Self {
        Self(Some(raster))
    }
}

impl Rows for AtOnce<'_> {
    fn next_rows(&mut self) -> Result<Option<Cow<'_, Raster>>, Error> {
        Ok(self.0.take().map(Cow::Borrowed))
    }
}

/// Gives all rows to `take`, and makes sure that they are those of the shape.
pub(super) fn for_each(
    rows: &mut dyn Rows,
    shape: &Shape,
    mut take: impl FnMut(&Raster) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut left = shape.size.height;
    while let Some(part) = rows.next_rows()? {
        part.check()?;
        let fits = Shape::of_part(&part, shape.size) == *shape && part.size.width == shape.size.width;
        left = match left.checked_sub(part.size.height) {
            Some(left) if fits => left,
            _ => {
                return Err(fault(format!(
                    "rows of {:?} in a picture of {shape:?}",
                    Shape::of(&part)
                )));
            }
        };
        take(&part)?;
    }
    match left {
        0 => Ok(()),
        left => Err(fault(format!("{left} rows of {} are missing", shape.size))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::test_pictures::{grey, rgb};

    struct Parts(Vec<Raster>);

    impl Rows for Parts {
        fn next_rows(&mut self) -> Result<Option<Cow<'_, Raster>>, Error> {
            Ok((!self.0.is_empty()).then(|| Cow::Owned(self.0.remove(0))))
        }
    }

    #[test]
    fn rows_must_be_those_of_the_picture() {
        let shape = Shape::of(&rgb(8, 10));
        let check = |parts: Vec<Raster>| {
            let mut heights = Vec::new();
            for_each(&mut Parts(parts), &shape, |part| {
                heights.push(part.size.height);
                Ok(())
            })
            .map(|()| heights)
        };
        assert_eq!(check(vec![rgb(8, 7), rgb(8, 3)]).unwrap(), [7, 3]);
        for wrong in [
            vec![rgb(8, 7)],
            vec![rgb(8, 7), rgb(8, 4)],
            vec![rgb(8, 7), rgb(7, 3)],
            vec![rgb(8, 7), grey(8, 3)],
        ] {
            assert_eq!(check(wrong).unwrap_err().status(), 500);
        }
    }
}
