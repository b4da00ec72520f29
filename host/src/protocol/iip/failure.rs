//! The error lines of IIP.

use crate::error::Error;
use crate::server::Response;

/// Longest argument echoed in an error line.
const MAX_ARGUMENT_BYTES: usize = 1024;

/// What ends a request before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// A command needs an image and none is set; the object asked for, if it was one.
    NoImage {
        /// Name of the object, empty for other commands.
        object: Vec<u8>,
    },
    /// A failure that IIP has no code for.
    Failed(Error),
}

impl Stop {
    /// A command other than `OBJ` needs an image.
    pub(super) fn no_image() -> Self {
        Self::NoImage { object: Vec::new() }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The error codes of IIP 1.0.5 that are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// The request is malformed: nothing in it asks for an answer.
    Malformed,
    /// The command is unknown.
    UnknownCommand,
    /// The object is unknown.
    UnknownObject,
    /// No image is set.
    Unavailable,
}

impl Code {
    /// Class and number as sent.
    fn text(self) -> &'static [u8] {
        match self {
            Self::Unavailable => b"1 3",
            Self::Malformed => b"2 1",
            Self::UnknownCommand => b"2 2",
            Self::UnknownObject => b"3 2",
        }
    }
}

/// Error lines collected while a request runs.
#[derive(Debug, Default)]
pub(super) struct ErrorLines {
    body: Vec<u8>,
}

impl ErrorLines {
    /// Adds a line. The length in it counts the code, a blank and the argument as sent.
    pub(super) fn push(&mut self, code: Code, argument: &[u8]) {
        let argument: Vec<u8> = argument
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_control())
            .take(MAX_ARGUMENT_BYTES)
            .collect();
        let len = code.text().len() + 1 + argument.len();
        self.body.extend_from_slice(format!("Error/{len}:").as_bytes());
        self.body.extend_from_slice(code.text());
        self.body.push(b' ');
        self.body.extend_from_slice(&argument);
        self.body.extend_from_slice(b"\r\n");
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The reply made of the lines alone.
    pub(super) fn into_reply(self) -> Response {
        Response::new(400)
            .with("Content-Type", super::MEDIA_TYPE)
            .with("Cache-Control", "no-cache")
            .with("X-Content-Type-Options", "nosniff")
            .body(self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(code: Code, argument: &[u8]) -> Vec<u8> {
        let mut lines = ErrorLines::default();
        lines.push(code, argument);
        lines.into_reply().body.to_vec()
    }

    #[test]
    fn a_line_states_the_length_of_its_code_and_argument() {
        assert_eq!(line(Code::UnknownCommand, b"foo"), b"Error/7:2 2 foo\r\n");
        assert_eq!(line(Code::Unavailable, b""), b"Error/4:1 3 \r\n");
        assert_eq!(line(Code::UnknownObject, b"obj"), b"Error/7:3 2 obj\r\n");
    }

    #[test]
    fn an_argument_is_cleaned_and_cut_before_it_is_counted() {
        assert_eq!(
            line(Code::UnknownCommand, b"a\r\nb\x7f\0c"),
            b"Error/7:2 2 abc\r\n"
        );
        let long = line(Code::Malformed, &[b"\n".repeat(5000), b"x".repeat(5000)].concat());
        assert_eq!(
            long,
            [b"Error/1028:2 1 ".to_vec(), b"x".repeat(1024), b"\r\n".to_vec()].concat()
        );
    }
}
