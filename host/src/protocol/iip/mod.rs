//! The Internet Imaging Protocol, version 1.0.5 with the extensions of its open implementations.
//!
//! A query is a list of commands that run from left to right. Some name an image (`FIF`) or set something
//! for later (`CNT`, `WID`, …), some answer. The first picture or document answers the whole request and
//! ends it; information (`OBJ`) and errors are collected and sent when the list is through.

mod argument;
mod command;
mod describe;
mod failure;
mod frame;
mod number_text;
mod object;
mod processing;
mod rotation;
mod sample_document;
mod samples;
mod session;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tiles;

pub use sample_document::{SampleValues, ViewSamples, sample_reply};
pub use tiles::{FramedCoding, framed_reply, push_framed_tile};

use crate::error::Error;
use crate::protocol::base::Base;
use crate::protocol::{Answer, Images};

use failure::Stop;
use session::Session;

/// The type of replies that have none of their own.
const MEDIA_TYPE: &str = "application/vnd.netfpx";

/// Most commands one request may run.
const MAX_COMMANDS: usize = 512;

/// The commands of a request, raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The text, not yet decoded, without a line end; not empty.
    pub text: &'a [u8],
    /// It came as the body of a POST.
    pub post: bool,
    /// It came as a path (`FIF=` put before it), where `+` is never a space.
    pub from_path: bool,
}

/// What the server can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// WebP pictures can be made.
    pub webp: bool,
    /// AVIF pictures can be made.
    pub avif: bool,
}

/// Protocols that a query can hand over to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Foreign {
    Iiif,
    DeepZoom,
    Zoomify,
}

/// How to hand over to another protocol: which one, the raw value of the command, and what the query has set
/// before it.
pub type Others<'a, I> = dyn FnMut(Foreign, &[u8], &Base) -> Result<Answer<I>, Error> + 'a;

/// Answers the commands of a query.
///
/// `others` answers for the protocols that name their own image.
///
/// # Errors
/// 400 for a bad argument or a limit, 404 for what does not exist, and whatever opening an image gives.
/// Errors that IIP has a code for are an [`Answer::Reply`] with status 400.
pub fn answer<S: Images>(
    query: &Query<'_>,
    images: &S,
    settings: &Settings,
    others: &mut Others<'_, S::Image>,
) -> Result<Answer<S::Image>, Error> {
    let mut session = Session::new(images, *query, *settings);
    match run(&mut session, query, others) {
        Ok(answer) => Ok(answer),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::NoImage { object }) => Ok(session.without_image(&object)),
    }
}

/// Runs the commands up to the first that answers the request.
fn run<S: Images>(
    session: &mut Session<'_, S>,
    query: &Query<'_>,
    others: &mut Others<'_, S::Image>,
) -> Result<Answer<S::Image>, Stop> {
    for (count, item) in command::items(query.text).enumerate() {
        if count >= MAX_COMMANDS {
            return Err(Error::bad_request(format!("more than {MAX_COMMANDS} commands")).into());
        }
        if let Some(answer) = session.run(item, others)? {
            return Ok(answer);
        }
    }
    session.finish(query.text)
}
