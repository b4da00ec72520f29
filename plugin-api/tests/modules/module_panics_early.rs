//! A module that panics while it describes itself.

use std::sync::Arc;

use iiphost_plugin_api::{
    ByteSource, Claim, DecodeError, FileHead, ImageDecoder, ImageReader, ModuleInfo, OpenContext, Options,
};

struct PanicsEarly;

impl ImageDecoder for PanicsEarly {
    fn describe(&self) -> ModuleInfo {
        panic!("no name comes to mind");
    }

    fn configure(&mut self, _options: &Options) -> Result<(), DecodeError> {
        Ok(())
    }

    fn probe(&self, _head: &FileHead<'_>) -> Claim {
        Claim::none("never asked")
    }

    fn open(
        &self,
        _source: Arc<dyn ByteSource>,
        _ctx: &OpenContext<'_>,
    ) -> Result<Box<dyn ImageReader>, DecodeError> {
        Err(DecodeError::unsupported("never asked"))
    }
}

iiphost_plugin_api::export_decoder!(PanicsEarly);
