//! From the words of a protocol to a [`View`] or a document.
//!
//! A protocol parses its request, asks [`Images`] for the images it names, and gives back an [`Answer`]:
//! a finished document, or a picture the handler has still to make. It knows no file, no decoder and no
//! socket, and makes no pixels.

pub mod argument;
pub mod base;
pub mod deepzoom;
pub mod dispatch;
#[cfg(test)]
mod fake;
pub mod iiif;
pub mod iip;
pub mod percent;
mod tile_grid;
pub mod uri_map;
pub mod zoomify;

use std::sync::Arc;

pub use base::Base;

use crate::error::Error;
use crate::image_info::ImageInfo;
use crate::server::{Request, Response};
use crate::view::View;

/// Where a protocol gets opened images from; the handler implements it.
pub trait Images {
    /// A handle on an opened image, cheap to clone.
    type Image: OpenedImage + Clone;

    /// Opens the first of the identifiers that names an image. They are percent-decoded bytes, tried in
    /// order (as sent, `+` as space, decoded once more); every check of identifiers runs on each.
    ///
    /// # Errors
    /// 404 when none exists, 400 for control characters, 415 or 500 for a file that cannot be read.
    fn open(&self, identifiers: &[Vec<u8>]) -> Result<Self::Image, Error>;

    /// The view of an image at a pair of angles: another file of a sequence, a page of a stack, or the
    /// image itself when it has one view only. Gives the image that holds the view and its page.
    ///
    /// # Errors
    /// 404 when there is no such view.
    fn view(
        &self,
        image: &Self::Image,
        horizontal: i64,
        vertical: Option<i64>,
    ) -> Result<(Self::Image, usize), Error>;
}

/// An opened image as a protocol sees it.
pub trait OpenedImage {
    /// Shape and text of the image.
    fn info(&self) -> &ImageInfo;

    /// The identifier that named it, percent-decoded, without root, prefix and suffix.
    fn identifier(&self) -> &[u8];

    /// Horizontal angles or page numbers that can be asked for, ascending; `[0]` for a single image.
    fn horizontal_views(&self) -> Vec<i64>;

    /// Vertical angles that can be asked for, ascending; `[90]` for a single image.
    fn vertical_views(&self) -> Vec<i64>;

    /// An XMP packet, if the image has one (the only metadata block a protocol shows as text).
    ///
    /// # Errors
    /// 500 when the file cannot be read.
    fn xmp(&self) -> Result<Option<Arc<[u8]>>, Error>;
}

/// What a protocol made of a request.
#[derive(Debug)]
pub enum Answer<I> {
    /// A complete reply that depends on no image: redirects, error texts of IIP, the page of an empty request.
    Reply(Response),
    /// A document about an image. The handler adds `Last-Modified`, `ETag`, `Cache-Control` and CORS, and
    /// answers conditional requests.
    Document {
        /// The image described.
        image: I,
        /// The document, status 200, with `Content-Type` and fields of its own (`Link`, `Vary`, `IIP`).
        response: Response,
    },
    /// A picture to be made.
    Picture(Box<Picture<I>>),
    /// Numbers read from samples of one or several views (`PFL`, `SPECTRA`).
    Samples(Box<SampleQuery<I>>),
    /// Tiles in the framing of `TIL`.
    Tiles(Box<TileRange<I>>),
}

/// A picture to be made.
#[derive(Clone, Debug)]
pub struct Picture<I> {
    /// The image.
    pub image: I,
    /// What is wanted of it.
    pub view: View,
    /// Exports carry all metadata and a download name; tiles carry the color profile only.
    pub kind: PictureKind,
    /// `Link` and other fields that depend on the final size are made by the protocol from the plan.
    pub link: Option<LinkRule>,
}

/// Whether a picture is a tile or an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    /// A tile: no download name, color profile only.
    Tile,
    /// An export, shown or saved.
    Export {
        /// `Content-Disposition` is `attachment` (a POST), not `inline`.
        attachment: bool,
    },
}

/// The `Link` fields of IIIF pictures: the handler calls [`iiif::link`](crate::protocol::iiif) with the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkRule {
    /// Base URI of the image (`id`), encoded; empty if the request does not tell it (then there is no
    /// canonical link).
    pub id: String,
    /// Major version of the Image API: 1, 2 or 3.
    pub version: u8,
    /// The quality in canonical form.
    pub quality: &'static str,
    /// The format was chosen from `Accept`: the reply needs `Vary: Accept`.
    pub vary_accept: bool,
}

/// Samples wanted for a profile or a spectrum.
#[derive(Clone, Debug)]
pub struct SampleQuery<I> {
    /// The views to read, in order: image, page and the name shown for it.
    pub views: Vec<(I, usize, String)>,
    /// Level, 0 = full size.
    pub level: usize,
    /// First pixel.
    pub x: u32,
    /// First pixel.
    pub y: u32,
    /// Pixels across; the other side is 1 pixel.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Quality layers asked for (`LYR`), 0 = not asked.
    pub quality_layers: i64,
    /// Document to make.
    pub document: SampleDocument,
}

/// Documents made from samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleDocument {
    /// JSON of `PFL`.
    Profile,
    /// XML of `SPECTRA`.
    Spectrum,
}

/// A rectangle of tiles in the framing of `TIL`.
#[derive(Clone, Debug)]
pub struct TileRange<I> {
    /// The image.
    pub image: I,
    /// Page of the image.
    pub page: usize,
    /// Level, 0 = full size.
    pub level: usize,
    /// `QLT`, if named.
    pub quality: Option<i32>,
    /// Quality layers asked for (`LYR`), 0 = not asked.
    pub quality_layers: i64,
    /// Tiles in the order sent: wire number, column, row.
    pub tiles: Vec<(u32, u32, u32)>,
    /// Wire number of the level, echoed in the framing.
    pub resolution: u32,
}

/// Answers for a protocol that a query of IIP hands over to, from the raw value of its command and what the
/// query has set before it.
///
/// # Errors
/// Those of the protocol.
pub fn foreign_answer<S: Images>(
    foreign: iip::Foreign,
    raw: &[u8],
    request: &Request,
    images: &S,
    settings: &iiif::IiifSettings,
    base: &Base,
) -> Result<Answer<S::Image>, Error> {
    let argument = || argument::Argument::of_query(raw);
    match foreign {
        iip::Foreign::Iiif => iiif::answer(&iiif::Target::of_query(raw), request, images, settings, base),
        iip::Foreign::DeepZoom => deepzoom::answer(&argument(), images, &settings.formats, base),
        iip::Foreign::Zoomify => zoomify::answer(&argument(), images, base),
    }
}
