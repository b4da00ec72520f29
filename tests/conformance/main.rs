//! What public validators and viewers demand of IIIF, Deep Zoom and Zoomify, and what an independent
//! computation from the full picture says about thousands of replies.

mod identifiers;
mod masters;
mod pixels;
mod random;
mod requests;
mod rules;
mod tile_sets;
mod validator;
mod viewers;
