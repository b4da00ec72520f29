//! Stored tiles handed on by the I/O thread.
//!
//! Copying a tile from the system's memory takes a few microseconds; a trip to the render pool and back takes
//! ten times as long. So where nothing has to be decoded and no disk waited for, the reply is made at once.

use std::time::Duration;

use iiphost_plugin_api::MetadataKind;

use super::Handler;
use super::picture::{CachedPicture, Prepared};
use crate::decoder::{CallScope, Origin};
use crate::source::from_memory;

/// Far longer than copying takes; a module that asks is told to stop.
const TIME: Duration = Duration::from_millis(100);

impl Handler {
    /// The picture, if it is a stored tile whose bytes are in memory.
    ///
    /// Only from modules that come with the host: they copy where others may compute, or wait.
    pub(super) fn stored_at_once(&self, prepared: &Prepared) -> Option<CachedPicture> {
        let image = &prepared.image.image;
        if image.module.origin != Origin::BuiltIn || self.stored_as(prepared).is_none() {
            return None;
        }
        // Read with the first tile, on the pool: a failed read is remembered with the image.
        image.known_metadata(MetadataKind::Icc)?;
        let scope = CallScope::with_time(TIME);
        let body = from_memory(|| self.stored_tile(prepared, &scope))?.ok()??;
        Some(self.keep(prepared, body.into_boxed_slice().into()))
    }
}
