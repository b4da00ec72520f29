//! Stopping an encoder early.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use crate::error::Error;

/// What encoders ask between the parts of their work.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(any(feature = "avif", feature = "webp")),
    allow(dead_code, reason = "only codecs that cannot be stopped ask for the end")
)]
pub struct Control<'a> {
    check: &'a (dyn Fn() -> Result<(), Error> + Sync),
    give_way: &'a (dyn Fn() + Sync),
    pub(super) deadline: Option<Instant>,
    pub(super) held: Option<&'a Arc<Held>>,
}

/// What stays as it is until work that cannot be stopped has ended.
pub type Held = dyn Any + Send + Sync;

impl<'a> Control<'a> {
    /// Work that nobody stops or interrupts.
    pub const NONE: Control<'static> = Control {
        check: &|| Ok(()),
        give_way: &|| (),
        deadline: None,
        held: None,
    };

    /// `check` fails when the work is to stop: its deadline has passed, or nobody waits for it any more.
    /// `give_way` does what is more urgent, on the calling thread.
    #[must_use]
    pub fn new(check: &'a (dyn Fn() -> Result<(), Error> + Sync), give_way: &'a (dyn Fn() + Sync)) -> Self {
        Self {
            check,
            give_way,
            ..Self::NONE
        }
    }

    /// Work that cannot be stopped does not begin where it is expected to end long after `deadline`, and keeps what is
    /// `held` to its end, even if the one who asked for it is no longer there.
    #[must_use]
    pub fn with_end(self, deadline: Instant, held: &'a Arc<Held>) -> Self {
        Self {
            deadline: Some(deadline),
            held: Some(held),
            ..self
        }
    }

    /// Gives way, then asks whether to go on.
    ///
    /// # Errors
    /// Why the work is to stop.
    pub fn between_parts(&self) -> Result<(), Error> {
        (self.give_way)();
        (self.check)()
    }
}

impl std::fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Control")
    }
}
