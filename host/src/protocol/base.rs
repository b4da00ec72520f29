//! What a query has settled before it hands over to a protocol that names its own image.

use crate::error::Error;
use crate::protocol::Images;
use crate::view::{Output, OutputFormat, Processing, Turn};

/// The starting point of a picture: settings a query gave before the command that answers.
///
/// The commands of IIP fill it; `IIIF=`, `DeepZoom=` and `Zoomify=` inside a query start from it, so that
/// `CNT=0&DeepZoom=…` is black. A request by path starts from [`Base::default`].
#[derive(Clone, Debug, PartialEq)]
pub struct Base {
    /// Image processing.
    pub processing: Processing,
    /// Mirror and turn.
    pub turn: Turn,
    /// Tile numbers count backwards from the last tile of the level (a turn by 180 degrees that is not part
    /// of a mirror): the tile whose turned pixels lie where the client will draw them.
    pub reverse_tiles: bool,
    /// Encoding.
    pub output: Output,
    /// Quality layers asked for, 0 = not asked.
    pub quality_layers: i64,
    /// Horizontal and vertical view asked for; `None` = the image as it opens.
    pub views: Option<(i64, Option<i64>)>,
    /// Exports are sent to be saved (`attachment`), not shown.
    pub attachment: bool,
}

impl Default for Base {
    fn default() -> Self {
        Self {
            processing: Processing::NONE,
            turn: Turn::NONE,
            reverse_tiles: false,
            output: Output::new(OutputFormat::Jpeg),
            quality_layers: 0,
            views: None,
            attachment: false,
        }
    }
}

impl Base {
    /// The image and page the settings select in an image just opened.
    ///
    /// # Errors
    /// 404 when there is no such view.
    pub fn select<S: Images>(&self, images: &S, image: &S::Image) -> Result<(S::Image, usize), Error> {
        match self.views {
            None => Ok((image.clone(), 0)),
            Some((horizontal, vertical)) => images.view(image, horizontal, vertical),
        }
    }
}
