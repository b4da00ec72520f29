//! What a decode gives, whoever did it.

use crate::engine::Samples;
use crate::openjpeg::Image;

/// Decoded samples of one component.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height` samples, as stored (signed ones are signed).
    pub samples: &'a [i32],
}

/// The samples of one decode.
pub struct Decoded {
    pub(crate) planes: Planes,
    /// What was found wrong with the file, empty for a sound one.
    pub complaints: Vec<String>,
}

/// Whose memory they are in.
pub(crate) enum Planes {
    Library(Image),
    Own(Vec<Samples>),
}

impl Decoded {
    /// The samples of a component, `None` if there is no such component or it has no samples.
    pub fn plane(&self, component: usize) -> Option<Plane<'_>> {
        match &self.planes {
            Planes::Library(image) => image.plane(component),
            Planes::Own(planes) => planes.get(component).map(|plane| Plane {
                width: plane.width,
                height: plane.height,
                samples: &plane.samples,
            }),
        }
    }

    /// Whether OpenJPEG made them.
    #[must_use]
    pub fn is_of_openjpeg(&self) -> bool {
        matches!(self.planes, Planes::Library(_))
    }
}
