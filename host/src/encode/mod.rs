//! encode

pub mod tiff;
