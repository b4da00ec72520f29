//! Replies and header fields that every part of the host writes the same way.

use std::borrow::Cow;

use super::Response;
use crate::error::Error;

/// Value of `Server`.
pub const SERVER: &str = concat!("iiphost/", env!("CARGO_PKG_VERSION"));

/// The reply to a failed request: its public message as plain text, not to be cached or guessed at.
#[must_use]
pub fn error(error: &Error) -> Response {
    let mut reply = Response::new(error.status())
        .with("Server", SERVER)
        .with("Content-Type", "text/plain; charset=utf-8")
        .with("Cache-Control", "no-cache")
        .with("X-Content-Type-Options", "nosniff");
    match error {
        Error::MethodNotAllowed { allow } => reply.push("Allow", *allow),
        Error::Unavailable { retry_after, .. } => {
            // Whole seconds (RFC 9110, section 10.2.3), never less than asked for.
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            reply.push("Retry-After", seconds.max(1).to_string());
        }
        _ => {}
    }
    reply.body(error.public_message() + "\n")
}

/// The reply to OPTIONS.
#[must_use]
pub fn options(allow: &'static str) -> Response {
    Response::new(204).with("Server", SERVER).with("Allow", allow)
}

/// Adds the fields that let pages of `origin` (`*` = any) read the reply.
#[must_use]
pub fn with_cors(reply: Response, origin: impl Into<Cow<'static, str>>) -> Response {
    reply
        .with("Access-Control-Allow-Origin", origin)
        .with("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
        .with(
            "Access-Control-Allow-Headers",
            "Accept, Content-Type, X-Requested-With, If-Modified-Since",
        )
        .with("Access-Control-Max-Age", "86400")
        .with("Access-Control-Expose-Headers", "Link, Content-Length")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_error_is_plain_text_that_nobody_keeps() {
        let reply = error(&Error::not_found("no such image"));
        assert_eq!(reply.status, 404);
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(reply.header("cache-control"), Some("no-cache"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.body, "no such image\n");
    }

    #[test]
    fn retry_after_is_rounded_up_and_allow_is_passed_on() {
        let busy = |millis| {
            let retry_after = Duration::from_millis(millis);
            error(&Error::Unavailable {
                reason: "queue".into(),
                retry_after,
            })
        };
        assert_eq!(busy(0).header("retry-after"), Some("1"));
        assert_eq!(busy(2000).header("retry-after"), Some("2"));
        assert_eq!(busy(2001).header("retry-after"), Some("3"));
        let refused = error(&Error::MethodNotAllowed { allow: "GET, HEAD" });
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }

    #[test]
    fn cors_is_five_fields() {
        let reply = with_cors(options("GET"), "*");
        let cors = reply
            .headers
            .iter()
            .filter(|(n, _)| n.starts_with("Access-Control-"))
            .count();
        assert_eq!(
            (cors, reply.header("access-control-allow-origin")),
            (5, Some("*"))
        );
    }
}
