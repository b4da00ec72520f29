//! A decoder of our own for sound codestreams of ISO/IEC 15444-1.
//!
//! OpenJPEG reads all packets of a tile and decodes every block an area touches, each time. A viewer asks for one
//! neighbor after the other, so most of that is done again and again. Here the packets are indexed once
//! ([`packet_index`]), and decoded blocks are kept for the next area that touches them ([`store`](crate::store)).
//!
//! What is rare or broken is [`Declined`] and goes to OpenJPEG: packed packet headers, other parts of the standard,
//! codestreams that are not sound. For all others the samples are those of OpenJPEG, bit by bit: the same filters on the
//! same numbers in the same order.

mod area;
mod arithmetic;
mod block;
mod color;
#[cfg(test)]
mod hostile;
mod layout;
mod packet_header;
mod packet_index;
mod parameters;
mod progression;
mod synthesis;
mod tag_tree;
#[cfg(test)]
mod tests;
mod wavelet;
mod windows;
mod work;

pub(crate) use area::{Engine, Samples};
pub(crate) use block::Coefficients;
pub(crate) use layout::ceil_shift;
pub(crate) use packet_index::IndexedTile;
pub(crate) use wavelet::Part;
pub(crate) use work::lock;

use iiphost_plugin_api::DecodeError;

/// What was made, unless it is left to OpenJPEG or the call has to end.
pub(crate) type Outcome<T> = Result<Result<T, Declined>, DecodeError>;

/// Why a codestream is left to OpenJPEG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declined(pub(crate) &'static str);
