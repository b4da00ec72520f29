//! How a call answers across the library boundary, and the guard that keeps panics on their side of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use abi_stable::StableAbi;
use abi_stable::std_types::RString;

use super::code;
use crate::error::{DecodeError, ErrorKind};

/// Longest message taken over from the other side, in bytes: it goes into a log line.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Result of every call that can fail. Code 0 is success, the others are those of [`code::error_kind`].
#[repr(C)]
#[derive(StableAbi)]
#[must_use]
pub(crate) struct Status {
    pub(crate) code: u32,
    pub(crate) message: RString,
}

impl Status {
    const OK: u32 = 0;

    fn ok() -> Self {
        Self {
            code: Self::OK,
            message: RString::new(),
        }
    }

    fn error(kind: ErrorKind, message: String) -> Self {
        Self {
            code: code::from_error_kind(kind),
            message: message.into(),
        }
    }

    /// What the other side answered, in plain terms.
    pub(crate) fn into_result(self) -> Result<(), DecodeError> {
        if self.code == Self::OK {
            return Ok(());
        }
        Err(DecodeError::new(
            code::error_kind(self.code),
            shorten(self.message.into_string()),
        ))
    }
}

/// Runs the body of an entry point: an error becomes a status, a panic the status
/// [`ErrorKind::Panicked`] with the text of the panic.
///
/// Unwind safety is asserted because nothing half-changed is used afterwards: out-parameters are written
/// last, and whoever gets `Panicked` drops the object the call was made on.
pub(crate) fn guard(body: impl FnOnce() -> Result<(), DecodeError>) -> Status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => Status::ok(),
        Ok(Err(error)) => Status::error(error.kind(), error.message().to_owned()),
        Err(payload) => Status::error(ErrorKind::Panicked, panic_text(payload)),
    }
}

/// As [`guard`], for callbacks whose answer is a plain value: `fallback` after a panic.
///
/// The panic itself has been reported by the panic hook of this side.
pub(crate) fn guard_value<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) => {
            let _text = panic_text(payload);
            fallback
        }
    }
}

fn panic_text(payload: Box<dyn Any + Send>) -> String {
    let text = if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without text".to_owned()
    };
    // A payload may be any value, so its destructor may panic as well. What that panic carries is leaked:
    // it could go on for ever.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    text
}

fn shorten(mut text: String) -> String {
    if text.len() > MAX_MESSAGE_BYTES {
        let end = text.floor_char_boundary(MAX_MESSAGE_BYTES);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("from the destructor of a payload");
        }
    }

    fn answer(body: impl FnOnce() -> Result<(), DecodeError>) -> (ErrorKind, String) {
        let error = guard(body).into_result().unwrap_err();
        (error.kind(), error.message().to_owned())
    }

    #[test]
    fn every_kind_of_panic_payload_becomes_a_status() {
        assert_eq!(
            answer(|| panic!("plain")),
            (ErrorKind::Panicked, "plain".to_owned())
        );
        assert_eq!(
            answer(|| panic!("number {}", 7)),
            (ErrorKind::Panicked, "number 7".to_owned())
        );
        assert_eq!(
            answer(|| std::panic::panic_any(7)).1,
            "a panic without text".to_owned()
        );
        assert_eq!(
            answer(|| std::panic::panic_any(PanicsWhenDropped)).0,
            ErrorKind::Panicked
        );
        assert_eq!(guard_value(3, || panic!("in a callback")), 3);
    }

    #[test]
    fn a_message_without_end_is_cut_between_characters() {
        let (_, message) = answer(|| Err(DecodeError::format("é".repeat(10_000))));
        assert!(message.len() <= MAX_MESSAGE_BYTES + '…'.len_utf8());
        assert!(message.ends_with("é…"));
    }
}
