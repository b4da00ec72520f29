//! The macro that makes a library a module.

/// Exports a decoder: the one line that makes a `cdylib` a module of iiphost.
///
/// The argument is an expression of a type that implements [`ImageDecoder`](crate::ImageDecoder); it is
/// evaluated when the host loads the module, and a panic in it is caught. Use the macro once in a library.
///
/// It exports the two statics by which a host knows a module: the plain header, which says among other
/// things whether the library unwinds when it panics (a host accepts nothing else, so leave `panic` alone
/// in the Cargo profile), and the root module with the layout of everything that crosses. Every function
/// behind them catches panics.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use iiphost_plugin_api::*;
/// # struct Toy;
/// # impl ImageDecoder for Toy {
/// #     fn describe(&self) -> ModuleInfo { unimplemented!() }
/// #     fn configure(&mut self, _: &Options) -> Result<(), DecodeError> { Ok(()) }
/// #     fn probe(&self, _: &FileHead<'_>) -> Claim { Claim::none("") }
/// #     fn open(&self, _: Arc<dyn ByteSource>, _: &OpenContext<'_>)
/// #         -> Result<Box<dyn ImageReader>, DecodeError> { unimplemented!() }
/// # }
/// iiphost_plugin_api::export_decoder!(Toy);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_decoder {
    ($decoder:expr $(,)?) => {
        const _: () = {
            struct ExportedDecoder;

            impl $crate::__private::Factory for ExportedDecoder {
                fn make() -> ::std::boxed::Box<dyn $crate::ImageDecoder> {
                    ::std::boxed::Box::new($decoder)
                }
            }

            // SAFETY: no other library part exports this name; hosts look the header up by it and know its
            // layout by the magic bytes.
            #[allow(unsafe_code)]
            #[unsafe(export_name = "iiphost_module_header")]
            static HEADER: $crate::__private::ModuleHeader =
                $crate::__private::ModuleHeader::new(cfg!(panic = "unwind"));

            // SAFETY: the name abi_stable looks up, with the type it expects there.
            #[allow(unsafe_code)]
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static ROOT: $crate::__private::LibHeader =
                $crate::__private::library_header::<ExportedDecoder>();
        };
    };
}
