//! A service that does what the query says, and a server around it, for the tests of the listeners.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use super::{
    Bound, Cancel, ListenConfig, LocalAddress, PendingResponse, Request, Response, Running, Service, Stopped,
};

/// No test waits longer for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Answers by the query: `echo` tells what was asked, `big` is 3,000,000 bytes, `panic` panics, `later`
/// waits for [`Script::finish`] on another thread of thought, anything else is `hello`.
#[derive(Debug)]
pub(super) struct Script {
    finish: Semaphore,
    waiting: Mutex<Vec<Cancel>>,
}

impl Service for Script {
    fn try_answer(&self, request: &Request) -> Option<Response> {
        Some(match request.query.as_slice() {
            b"later" => return None,
            b"panic" => panic!("as the test wants"),
            b"big" => Response::new(200).body(vec![b'x'; 3_000_000]),
            b"echo" => Response::new(200).body(format!(
                "{:?} {} {} {:?}",
                request.method,
                request.path,
                request.body.escape_ascii(),
                request.header_text("x-test"),
            )),
            _ => Response::new(200)
                .with("Content-Type", "text/plain")
                .body("hello"),
        })
    }

    fn answer(self: Arc<Self>, _request: Request, abandoned: Cancel) -> PendingResponse {
        self.waiting.lock().push(abandoned);
        Box::pin(async move {
            match self.finish.acquire().await {
                Ok(permit) => permit.forget(),
                Err(closed) => panic!("{closed}"),
            }
            Response::new(200).body("finished")
        })
    }
}

impl Script {
    /// Lets one request that waits finish.
    pub(super) fn finish(&self) {
        self.finish.add_permits(1);
    }

    /// Waits until a number of requests has come so far that they wait.
    pub(super) fn await_waiting(&self, count: usize) {
        until(|| self.waiting.lock().len() >= count);
    }

    /// Waits until the first request that waited is cancelled.
    pub(super) fn await_cancelled(&self) {
        until(|| self.waiting.lock().first().is_some_and(Cancel::is_cancelled));
    }
}

/// Waits for a condition that another thread brings about.
pub(super) fn until(condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it did not come about");
        std::thread::yield_now();
    }
}

/// A server on free ports of the loopback.
pub(super) struct TestServer {
    pub(super) script: Arc<Script>,
    pub(super) fastcgi: SocketAddr,
    pub(super) http: SocketAddr,
    running: Option<Running>,
    runtime: Runtime,
}

impl TestServer {
    pub(super) fn start(change: impl FnOnce(&mut ListenConfig)) -> Self {
        let any: super::ListenAddress = "127.0.0.1:0".parse().expect("a good address");
        let mut config = ListenConfig {
            fastcgi: vec![any.clone()],
            http: vec![any],
            io_threads: 2,
            ..ListenConfig::default()
        };
        change(&mut config);
        let script = Arc::new(Script {
            finish: Semaphore::new(0),
            waiting: Mutex::default(),
        });
        let bound = Bound::bind(config).expect("the loopback has free ports");
        let tcp = |address: Option<&LocalAddress>| match address {
            Some(LocalAddress::Tcp(address)) => *address,
            other => panic!("{other:?}"),
        };
        let fastcgi = tcp(bound.fastcgi_addresses().next());
        let http = tcp(bound.http_addresses().next());
        let running = bound.start(script.clone()).expect("threads can be started");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        Self {
            script,
            fastcgi,
            http,
            running: Some(running),
            runtime,
        }
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        self.running.as_ref().map_or(0, Running::connections)
    }

    pub(super) fn stop(mut self) -> Stopped {
        let running = self.running.take().expect("it runs until it is stopped");
        self.runtime.block_on(running.stop())
    }
}

/// A client that does not wait for ever.
pub(super) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time is accepted");
    stream
        .set_write_timeout(Some(PATIENCE))
        .expect("a time is accepted");
    stream
}

/// Everything up to the end of the stream.
pub(super) fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the server closes in time");
    bytes
}
