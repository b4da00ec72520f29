//! The IIIF Image API 3.0, 2.1.1 and 1.1.
//!
//! A path is split from the right: `info.json`, four parameters, or nothing but an identifier, which is
//! redirected to its document. Syntax is judged before anything is opened, so nonsense is 400 whether or not
//! the image exists.

mod accept;
mod address;
mod answer;
mod extra;
mod field;
mod id;
mod info;
mod link;
mod parse;
mod physical;
mod proxy;
mod rights;
mod view;

pub use answer::answer;
pub use extra::ExtraInfo;
pub use link::{Shown, canonical, link_fields};
pub use proxy::TrustedProxies;

use crate::limits::Limits;
use crate::protocol::argument::Argument;
use crate::protocol::uri_map::UriMap;
use crate::view::OutputFormat;

/// What an operator sets for this protocol.
#[derive(Clone, Debug)]
pub struct IiifSettings {
    /// `IIIF_VERSION`: 1, 2 or 3, the version of endpoints that fix none.
    pub version: u8,
    /// `BASE_URL`.
    pub base_url: Option<String>,
    /// `TRUSTED_PROXIES`.
    pub trusted_proxies: TrustedProxies,
    /// `IIIF_DELIMITER`: what stands between an identifier and a page number; empty for none.
    pub delimiter: String,
    /// `IIIF_EXTENSIONS`: additional qualities.
    pub extensions: bool,
    /// `IIIF_EXTRA_INFO`.
    pub extra_info: ExtraInfo,
    /// `COPYRIGHT`: rights of images that name none.
    pub copyright: Option<String>,
    /// Formats that can be written.
    pub formats: Vec<OutputFormat>,
    /// Replies of this protocol are open to scripts of other sites.
    pub cors: bool,
    /// Limits of pictures, and whether they may be enlarged.
    pub limits: Limits,
    /// Where other endpoints are.
    pub uri_map: UriMap,
}

/// An endpoint and what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The version the endpoint fixes.
    pub version: Option<u8>,
    /// The mount of the path without slashes at its ends; not used for a query.
    pub mount: String,
    /// What follows.
    pub argument: Argument,
}

impl Target {
    /// A path behind a mount.
    pub fn of_path(version: Option<u8>, mount: impl Into<String>, rest: impl Into<Vec<u8>>) -> Self {
        Self {
            version,
            mount: mount.into(),
            argument: Argument::of_path(rest),
        }
    }

    /// The raw value of the command `IIIF`.
    pub fn of_query(value: impl Into<Vec<u8>>) -> Self {
        Self {
            version: None,
            mount: String::new(),
            argument: Argument::of_query(value),
        }
    }
}
