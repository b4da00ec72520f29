//! Serves one fixed reply over FastCGI and HTTP: what the listeners alone cost.
//!
//! `floor FASTCGI_ADDR HTTP_ADDR BODY_BYTES [THREADS]`; compare it with any responder that writes the same bytes.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use iiphost::server::{Bound, Cancel, ListenConfig, PendingResponse, Request, Response, Service};

struct Fixed(Bytes);

impl Service for Fixed {
    fn try_answer(&self, request: &Request) -> Option<Response> {
        (request.query != b"later").then(|| self.reply())
    }

    fn answer(self: Arc<Self>, _request: Request, _abandoned: Cancel) -> PendingResponse {
        Box::pin(async move { self.reply() })
    }
}

impl Fixed {
    fn reply(&self) -> Response {
        Response::new(200)
            .with("Content-Type", "image/jpeg")
            .with("Cache-Control", "max-age=86400")
            .with("Last-Modified", "Sun, 22 Nov 2026 06:25:34 GMT")
            .body(self.0.clone())
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || {
        arguments
            .next()
            .context("usage: floor FASTCGI_ADDR HTTP_ADDR BODY_BYTES [THREADS]")
    };
    let mut config = ListenConfig {
        fastcgi: vec![next()?.parse()?],
        http: vec![next()?.parse()?],
        ..ListenConfig::default()
    };
    let body = Bytes::from(vec![b'x'; next()?.parse()?]);
    if let Ok(threads) = next() {
        config.io_threads = threads.parse()?;
    }
    let bound = Bound::bind(config)?;
    for address in bound.fastcgi_addresses().chain(bound.http_addresses()) {
        println!("{address}");
    }
    let stopped = bound.run(Arc::new(Fixed(body)), || println!("reload"))?;
    println!("{stopped:?}");
    Ok(())
}
