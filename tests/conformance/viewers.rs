//! Viewers.
