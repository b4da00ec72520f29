//! TIFF decoder module of iiphost.
