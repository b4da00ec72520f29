//! A module that works, and misbehaves when its image says so.

use iiphost_plugin_api::*;

mod scripted;

iiphost_plugin_api::export_decoder!(scripted::Scripted::default());
