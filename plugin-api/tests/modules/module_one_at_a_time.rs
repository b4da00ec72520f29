//! The scripted module under another name, which takes one call at a time.

use std::sync::Arc;

use iiphost_plugin_api::*;

mod scripted;

#[derive(Default)]
struct OneAtATime(scripted::Scripted);

iiphost_plugin_api::export_decoder!(OneAtATime::default());

impl ImageDecoder for OneAtATime {
    fn describe(&self) -> ModuleInfo {
        // A module prints to where the host writes its answers.
        println!("ready when you are");
        ModuleInfo {
            id: "one-at-a-time".into(),
            formats: vec![FormatInfo::new("One", "text/x-one", &["one"])],
            threading: Threading::GlobalLock,
            ..self.0.describe()
        }
    }

    fn configure(&mut self, options: &Options) -> Result<(), DecodeError> {
        self.0.configure(options)
    }

    fn probe(&self, head: &FileHead<'_>) -> Claim {
        if head.extension != "one" {
            return Claim::none("another extension");
        }
        self.0.probe(head)
    }

    fn open(
        &self,
        source: Arc<dyn ByteSource>,
        ctx: &OpenContext<'_>,
    ) -> Result<Box<dyn ImageReader>, DecodeError> {
        self.0.open(source, ctx)
    }
}
