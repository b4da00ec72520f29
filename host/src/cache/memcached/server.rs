//! One memcached server: its connections, and whether it is worth asking.

use std::io;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::address::ServerAddress;
use super::breaker::Breaker;
use super::connection::{Command, Connection, Reply};

/// Connections to one server at a time; requests beyond them wait for one, within their time.
const MAX_CONNECTIONS: usize = 16;

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: ServerAddress,
    breaker: Breaker,
    idle: Mutex<Vec<Connection>>,
    places: Semaphore,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server is left alone for a while: nothing was asked, nothing was waited for.
    LeftAlone,
    /// It was asked in vain.
    Failed,
}

impl Server {
    pub(super) fn new(address: ServerAddress) -> Self {
        Self {
            address,
            breaker: Breaker::default(),
            idle: Mutex::default(),
            places: Semaphore::new(MAX_CONNECTIONS),
        }
    }

    /// Whether it is in use, or left alone after failures.
    pub(super) fn is_in_use(&self) -> bool {
        !self.breaker.is_open()
    }

    /// Asks, at most until the deadline.
    pub(super) async fn ask(&self, command: &Command<'_>, deadline: Instant) -> Result<Reply, Failure> {
        if !self.breaker.allows(Instant::now()) {
            return Err(Failure::LeftAlone);
        }
        let asked = tokio::time::timeout_at(deadline.into(), self.ask_patiently(command)).await;
        let error = match asked {
            Ok(Ok(reply)) => {
                if self.breaker.succeeded() {
                    tracing::info!(server = %self.address, "memcached answers again");
                }
                return Ok(reply);
            }
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        tracing::debug!(server = %self.address, "memcached: {error}");
        // What is idle may be as dead as this one was.
        self.idle.lock().clear();
        if self.breaker.failed(Instant::now()) {
            tracing::warn!(server = %self.address, "memcached is left alone for a while: {error}");
        }
        Err(Failure::Failed)
    }

    async fn ask_patiently(&self, command: &Command<'_>) -> io::Result<Reply> {
        // Never closed; and if it were, there would only be more connections.
        let _place = self.places.acquire().await;
        let idle = self.idle.lock().pop();
        if let Some(mut connection) = idle
            && let Ok(reply) = connection.ask(command).await
        {
            self.idle.lock().push(connection);
            return Ok(reply);
        }
        // None was open, or the server has closed it meanwhile, by a restart for example.
        let mut connection = Connection::open(&self.address).await?;
        let reply = connection.ask(command).await?;
        self.idle.lock().push(connection);
        Ok(reply)
    }
}
