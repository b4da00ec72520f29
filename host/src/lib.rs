//! iiphost: an image server for streamed viewing of very large images, and a host for decoder modules.
//!
//! A request travels through the modules in this order:
//!
//! `server → protocol → View → source, decoder: ImageInfo → plan → Plan → cache → decoder → Raster →
//! pipeline → encode → Response → server`
//!
//! [`handler`] is the only module that knows all the others. ARCHITECTURE.md tells who may know whom.

pub mod admin;
pub mod cli;
pub mod handler;

pub mod error;
pub mod limits;
pub mod logging;
pub mod metrics;

pub mod config;
pub mod server;

pub mod protocol;
pub mod view;

pub mod image_info;
pub mod source;

pub mod plan;

pub mod cache;
pub mod decoder;
pub mod workers;

pub mod raster;

pub mod color;
pub mod pipeline;
pub mod watermark;

pub mod encode;

pub mod demo;
pub mod pyramid;
pub mod web;
