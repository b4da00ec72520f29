//! Tiles decoded together with their neighbors: what the handler adds to [`JoinedReads`].

use super::Handler;
use super::budget::Reserved;
use super::picture::{Prepared, widened, write_image_key};
use crate::decoder::{Announced, CallScope, JoinedReads, Means, RegionReader, Wish};
use crate::error::Error;
use crate::pipeline;
use crate::raster::Raster;
use crate::workers::{Borrowed, Urgency};

/// Pixels that a picture in the queue will want, known to its neighbors.
pub(super) struct Wanted {
    wish: Wish,
    announced: Announced,
}

/// Memory and threads of the host.
struct HostMeans<'a>(&'a Handler);

impl Means for HostMeans<'_> {
    type Memory = Reserved;
    type Threads = Borrowed;

    fn memory(&self, bytes: u64) -> Option<Reserved> {
        self.0.memory.reserve(bytes).ok()
    }

    fn idle_threads(&self) -> (u32, Borrowed) {
        let borrowed = self.0.workers.borrow_idle();
        (u32::try_from(borrowed.count()).unwrap_or(u32::MAX), borrowed)
    }
}

impl Handler {
    /// Tells the neighbors of a picture which pixels it will want; `None` if it gains nothing from them, as
    /// far as that is known.
    pub(super) fn announce(&self, prepared: &Prepared) -> Option<Wanted> {
        if prepared.urgency != Urgency::Tile {
            return None;
        }
        let plan = &prepared.plan;
        let (image, page) = (&prepared.image.image, prepared.page());
        let level = page.levels.get(plan.level)?;
        let (region, _) = widened(&plan.source, pipeline::margin(&plan.processing), level.size);
        let gain = image.known_gain(plan.page, level)?;
        if !gain.is_some() {
            return None;
        }
        let mut surface = Vec::with_capacity(128);
        write_image_key(&mut surface, image);
        surface.extend_from_slice(&(plan.page as u64).to_le_bytes());
        surface.extend_from_slice(&level.decoder_level.to_le_bytes());
        surface.extend_from_slice(&plan.quality_layers.to_le_bytes());
        let wish = Wish {
            surface: surface.into(),
            gain,
            page: plan.page,
            level: *level,
            tile: page.tile_size,
            region,
            quality_layers: plan.quality_layers,
        };
        self.joined.takes(&wish).then(|| Wanted {
            announced: JoinedReads::announce(&self.joined, &wish),
            wish,
        })
    }

    /// The pixels that were announced.
    pub(super) fn read_joined(
        &self,
        reader: &RegionReader<'_>,
        wanted: Wanted,
        scope: &CallScope,
    ) -> Result<Raster, Error> {
        let Wanted { wish, announced } = wanted;
        let raster = self
            .joined
            .read(reader, &wish, announced, &HostMeans(self), scope);
        self.make_room();
        raster
    }

    /// Decoded tiles and pictures share `MAX_IMAGE_CACHE_SIZE`.
    pub(super) fn make_room(&self) {
        let left = self.config.image_cache_bytes.saturating_sub(self.joined.bytes());
        self.pictures.shrink_to(left);
    }
}
