//! An HTTP connection on its socket.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::exchange;
use crate::server::admission::Place;
use crate::server::socket::{ImpatientSocket, Socket};
use crate::server::worker::Context;

/// Most browsers and proxies send fewer than thirty.
const MAX_FIELDS: usize = 100;

/// Serves a connection that was just accepted, as a task of its own.
pub(in crate::server) fn accepted(
    fd: OwnedFd,
    is_tcp: bool,
    peer: Option<IpAddr>,
    place: Place,
    context: &Arc<Context>,
) {
    match Socket::new(fd, is_tcp) {
        Ok(socket) => {
            tokio::spawn(serve(socket, peer, place, Arc::clone(context)));
        }
        Err(error) => tracing::error!("a connection cannot be waited for: {error}"),
    }
}

async fn serve(socket: Socket, peer: Option<IpAddr>, place: Place, context: Arc<Context>) {
    let io = TokioIo::new(ImpatientSocket::new(socket, context.timeouts.send));
    let service =
        service_fn(|request| exchange::answer(request, peer, place.is_refusal, Arc::clone(&context)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Runs between requests too, and so ends idle connections.
        .header_read_timeout(context.timeouts.receive)
        .max_headers(MAX_FIELDS)
        .max_header_size(context.intake.max_head_bytes)
        .title_case_headers(true)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let end = tokio::select! {
        biased;
        end = connection.as_mut() => end,
        () = context.stop.ordered() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = end {
        tracing::debug!("HTTP connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};
    use std::time::Duration;

    use crate::server::Stopped;
    use crate::server::testing::{TestServer, connect, read_to_end, until};

    fn ask(server: &TestServer, text: &str) -> String {
        let mut stream = connect(server.http);
        stream.write_all(text.as_bytes()).expect("the server reads");
        String::from_utf8(read_to_end(&mut stream)).expect("the tests send text")
    }

    /// A reply without its date.
    fn undated(reply: &str) -> String {
        reply
            .split_inclusive("\r\n")
            .filter(|line| !line.starts_with("Date: "))
            .collect()
    }

    const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n";

    #[test]
    fn get_and_head_differ_by_the_body_alone() {
        let server = TestServer::start(|_| {});
        let get = ask(
            &server,
            "GET /?x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(undated(&get), format!("{HELLO}Connection: close\r\n\r\nhello"));
        let head = ask(
            &server,
            "HEAD /?x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(undated(&head), format!("{HELLO}Connection: close\r\n\r\n"));
    }

    #[test]
    fn pipelined_requests_are_answered_in_order_and_paths_are_raw() {
        let server = TestServer::start(|_| {});
        let replies = ask(
            &server,
            "GET /a%2Fb%20c/..//x?echo HTTP/1.1\r\nHost: a\r\nX-Test: 1\r\n\r\n\
             POST /?echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na=b\
             PURGE http://a/y?echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        let first = replies.find(r#"Get /a%2Fb%20c/..//x  Some("1")"#);
        let second = replies.find("Post / a=b None");
        let third = replies.find(r#"Other("PURGE") /y  None"#);
        assert!(first.is_some() && first < second && second < third, "{replies}");
    }

    #[test]
    fn what_is_malformed_or_too_large_is_refused() {
        let server = TestServer::start(|config| config.intake.max_head_bytes = 10_000);
        let long = "x".repeat(70_000);
        for (status, request) in [
            ("400", "GET\r\n\r\n".to_owned()),
            ("400", "\x01\x01\r\n\r\n".to_owned()),
            (
                "431",
                format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", &long[..11_000]),
            ),
            (
                "431",
                format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200)),
            ),
            (
                "413",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
                    .to_owned(),
            ),
            (
                "413",
                format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n{long}"),
            ),
            (
                "413",
                format!(
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n11170\r\n{long}\r\n0\r\n\r\n"
                ),
            ),
        ] {
            let reply = ask(&server, &request);
            assert!(
                reply.starts_with(&format!("HTTP/1.1 {status} ")),
                "{status}: {reply}"
            );
        }
        let server = TestServer::start(|config| config.intake.max_query_bytes = 1000);
        let reply = ask(
            &server,
            &format!(
                "GET /?{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                &long[..1001]
            ),
        );
        assert!(reply.starts_with("HTTP/1.1 414 "), "{reply}");
    }

    #[test]
    fn a_client_that_is_too_slow_is_closed() {
        let server = TestServer::start(|config| {
            config.timeouts.receive = Duration::from_millis(20);
            config.timeouts.send = Duration::from_millis(20);
        });
        assert_eq!(ask(&server, "GET / HT"), "");
        let kept = ask(&server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(undated(&kept), format!("{HELLO}\r\nhello"));
        let reply = ask(
            &server,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na",
        );
        assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
        let mut greedy = connect(server.http);
        greedy
            .write_all(b"GET /?big HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("the server reads");
        assert_eq!(server.stop(), Stopped::Drained);
    }

    #[test]
    fn a_closed_connection_cancels_its_work() {
        let server = TestServer::start(|_| {});
        let stream = connect(server.http);
        (&stream)
            .write_all(b"GET /?later HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("the server reads");
        server.script.await_waiting(1);
        stream.shutdown(Shutdown::Both).expect("it is connected");
        server.script.await_cancelled();
    }

    #[test]
    fn a_panic_of_the_service_costs_its_request_alone() {
        let server = TestServer::start(|config| config.io_threads = 1);
        let replies = ask(
            &server,
            "GET /?panic HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        assert!(
            replies.starts_with("HTTP/1.1 500 ") && replies.ends_with("\r\n\r\nhello"),
            "{replies}"
        );
    }

    #[test]
    fn a_stop_lets_running_requests_end_and_closes_idle_connections() {
        let server = TestServer::start(|_| {});
        let mut idle = connect(server.http);
        idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("the server reads");
        let mut reply = Vec::new();
        while !reply.ends_with(b"hello") {
            let mut byte = [0];
            idle.read_exact(&mut byte).expect("a reply comes in time");
            reply.push(byte[0]);
        }
        let mut busy = connect(server.http);
        busy.write_all(b"GET /?later HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("the server reads");
        server.script.await_waiting(1);
        let script = server.script.clone();
        let address = server.http;
        let stopping = std::thread::spawn(move || server.stop());
        assert!(read_to_end(&mut idle).is_empty());
        until(|| TcpStream::connect(address).is_err());
        script.finish();
        assert!(read_to_end(&mut busy).ends_with(b"finished"));
        assert_eq!(stopping.join().ok(), Some(Stopped::Drained));
    }
}
