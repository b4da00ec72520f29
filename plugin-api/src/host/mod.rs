//! The loading side (feature `host`): from a path to an [`ImageDecoder`](crate::ImageDecoder).
//!
//! [`load`] checks a file step by step and refuses it with one sentence. What it gives back speaks the
//! plain traits; every answer of the module has been checked (`answer`), calls that may not overlap are
//! kept apart ([`Serialized`]), and panics and impossible answers are counted ([`Faults`]).

pub(crate) mod answer;
#[cfg(target_os = "linux")]
mod elf;
mod faults;
mod load;
mod serialized;

pub use faults::Faults;
pub use load::{LoadError, LoadedModule, load};
pub use serialized::{BUSY, Serialized};
