//! A reply in terms no transport owns.

use std::borrow::Cow;

use bytes::Bytes;

use super::Rest;

/// One reply: status, header fields in order, body.
///
/// `Content-Length` is added by the transport from the body (never on 204 and 304, nor where a [`rest`](Self::rest)
/// follows), and the body is left out for HEAD there.
#[derive(Debug)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// Header fields in the order sent. Values hold no control characters.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body; a cheap clone of cached bytes.
    pub body: Bytes,
    /// What follows the body while it is being made: the body is only its beginning then.
    pub rest: Option<Rest>,
}

impl Response {
    /// A reply without header fields and body.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            rest: None,
        }
    }

    /// Adds a header field. Control characters of the value become spaces, so that no value can end
    /// its field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.push(name, value);
        self
    }

    /// Adds a header field, see [`with`](Self::with).
    pub fn push(&mut self, name: &'static str, value: impl Into<Cow<'static, str>>) {
        let value = value.into();
        let value = if value.chars().any(char::is_control) {
            Cow::Owned(
                value
                    .chars()
                    .map(|c| if c.is_control() { ' ' } else { c })
                    .collect(),
            )
        } else {
            value
        };
        self.headers.push((name, value));
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The value of a header field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_ref())
    }

    /// The reason phrase of a status (RFC 9110 section 15).
    #[must_use]
    pub fn reason(status: u16) -> &'static str {
        match status {
            200 => "OK",
            204 => "No Content",
            303 => "See Other",
            304 => "Not Modified",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            413 => "Content Too Large",
            414 => "URI Too Long",
            415 => "Unsupported Media Type",
            500 => "Internal Server Error",
            501 => "Not Implemented",
            503 => "Service Unavailable",
            _ => "",
        }
    }
}
