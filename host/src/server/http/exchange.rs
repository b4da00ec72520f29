//! hyper's request and response to ours.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue};
use hyper::http::request::Parts;

use super::body::ReplyBody;
use crate::error::Error;
use crate::server::service::{Answer, refuse, try_answer};
use crate::server::worker::Context;
use crate::server::{Method, Request, Response, Transport};

/// How much of a body over the limit is read, so that a client that sends before it reads gets its 413.
const MAX_DISCARDED_BYTES: u64 = 1 << 20;

/// Answers one request. hyper drops the future when the client goes away.
pub(super) async fn answer(
    request: hyper::Request<Incoming>,
    peer: Option<IpAddr>,
    is_refusal: bool,
    context: Arc<Context>,
) -> Result<hyper::Response<ReplyBody>, Infallible> {
    let (parts, body) = request.into_parts();
    let expects_continue = parts.headers.contains_key(EXPECT);
    let mut request = to_request(parts, peer);
    let service = &context.service;
    if is_refusal {
        let error = Error::Unavailable {
            reason: "connections".into(),
            retry_after: Duration::from_secs(1),
        };
        return Ok(closing(to_hyper(refuse(service, Some(&request), &error))));
    }
    if request.query.len() > context.intake.max_query_bytes {
        let error = Error::QueryTooLong {
            limit_bytes: context.intake.max_query_bytes as u64,
        };
        return Ok(to_hyper(refuse(service, Some(&request), &error)));
    }
    if !body.is_end_stream() {
        match read_body(body, expects_continue, &context).await {
            Ok(bytes) => request.body = bytes.into(),
            Err(error) => return Ok(closing(to_hyper(refuse(service, Some(&request), &error)))),
        }
    }
    if let Some(response) = try_answer(service, &request) {
        return Ok(to_hyper(response));
    }
    Ok(to_hyper(Answer::start(service, request).await))
}

async fn read_body(mut body: Incoming, expects_continue: bool, context: &Context) -> Result<Bytes, Error> {
    let limit = context.intake.max_body_bytes;
    let too_large = Error::BodyTooLarge {
        limit_bytes: limit as u64,
    };
    let patience = context.timeouts.receive;
    if body.size_hint().lower() > limit as u64 {
        if !expects_continue {
            // What this gives does not matter: the request is refused in any case.
            let _ = tokio::time::timeout(patience, discard(&mut body)).await;
        }
        return Err(too_large);
    }
    match tokio::time::timeout(patience, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
        Ok(Err(error)) => Err(Error::bad_request(format!(
            "the body is malformed or cut short: {error}"
        ))),
        Err(_) => Err(Error::bad_request(format!(
            "the body took longer than {patience:?}"
        ))),
    }
}

async fn discard(body: &mut Incoming) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = body.frame().await {
        discarded += frame.data_ref().map_or(0, |data| data.len() as u64);
        if discarded > MAX_DISCARDED_BYTES {
            break;
        }
    }
}

fn to_request(parts: Parts, peer: Option<IpAddr>) -> Request {
    let mut request = Request::new(Transport::Http);
    request.method = Method::from_name(parts.method.as_str());
    // As sent: hyper decodes nothing, and leaves scheme and authority out of the path.
    request.path = parts.uri.path().to_owned();
    request.query = parts.uri.query().unwrap_or_default().into();
    request.headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    request.peer = peer;
    request
}

/// hyper leaves out the body of a reply to HEAD, and writes its length. A body of unknown length goes in chunks, and
/// ends with the connection for a client of HTTP/1.0.
fn to_hyper(response: Response) -> hyper::Response<ReplyBody> {
    let has_body = !matches!(response.status, 204 | 304);
    let (body, rest) = match has_body {
        true => (response.body, response.rest),
        false => (Bytes::new(), None),
    };
    let len = rest.is_none().then_some(body.len());
    let mut reply = hyper::Response::new(ReplyBody::new(body, rest));
    if let Ok(status) = hyper::StatusCode::from_u16(response.status) {
        *reply.status_mut() = status;
    } else {
        tracing::error!("a reply has the impossible status {}", response.status);
        *reply.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
    }
    let fields = reply.headers_mut();
    for (name, value) in response.headers {
        match (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_bytes(value.as_bytes()),
        ) {
            (Ok(name), _) if name == CONTENT_LENGTH => {}
            (Ok(name), Ok(value)) => {
                fields.append(name, value);
            }
            _ => tracing::error!("the header field {name} is left out: it is no HTTP"),
        }
    }
    if let (true, Some(len)) = (has_body, len) {
        fields.insert(CONTENT_LENGTH, len.into());
    }
    reply
}

fn closing(mut reply: hyper::Response<ReplyBody>) -> hyper::Response<ReplyBody> {
    reply
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}
