//! Decoder modules: finding and loading them, choosing one for a file, keeping images open, reading pixels.
//!
//! Nothing outside this module calls into a decoder. What comes in is plain
//! [`iiphost_plugin_api`] types, what goes out is [`ImageInfo`](crate::image_info::ImageInfo) and
//! [`Raster`](crate::raster::Raster).

mod call;
mod calls;
mod claims;
mod closer;
mod convert;
mod faults;
mod handles;
mod image;
mod joined;
mod loader;
mod options;
mod orientation;
mod read;
mod registry;
mod snapshot;
mod upright;

pub use call::{Call, CallScope};
pub use calls::{CallCounts, Entry, Overrun, Patience, Subject, Usage};
pub use claims::ClaimRule;
pub use convert::image_info;
pub use faults::{
    Fault, FaultCounts, FaultKind, Faults, ModuleFaults, NotedFault, QuarantinedFile, Standing,
};
pub use handles::{Handles, Opened};
pub use image::OpenImage;
pub use joined::{Announced, Gain, JoinedReads, Means, Wish};
pub use loader::{
    CHECK_ARGUMENT, LOADED_STATUS, LoadFailure, ModuleList, ModuleSpec, Origin, REFUSED_STATUS,
    check_in_child, is_built_in, load_modules, try_in_child,
};
pub use options::Setting;
pub use read::RegionReader;
pub use registry::{Module, ProbeResult, Registry};
pub use snapshot::{ModuleSnapshot, ModuleState, Snapshot};
