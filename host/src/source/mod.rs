//! From an identifier to a file under the allowed root.
//!
//! An identifier is bytes a client sent, percent-decoded. It is joined to the root segment by segment,
//! opened without ever leaving the root (also not through links, unless the operator allows it), and only
//! if it is a regular file. Decoders get the open file, never a path to open themselves.

mod file;
mod identifier;
mod root;
mod sequence;
mod stamp;

pub use file::{FileSource, from_memory};
pub use identifier::relative_path;
pub use root::{OpenedFile, Root};
pub use sequence::{Sequence, SequenceMember};
pub use stamp::Stamp;
