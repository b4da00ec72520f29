//! memcached as second level: pictures shared by several servers.
//!
//! All its sockets live on one thread with a runtime of its own. Whoever asks waits for an answer without
//! blocking a thread, and never longer than the time-out; a server that fails again and again is not asked
//! for a while. A short lease, taken with `add`, lets one server make a picture that several want at the
//! same time; the others look for it again and again, for a bounded time.

mod address;
mod breaker;
mod connection;
mod sealed;
mod server;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

pub use address::{BadAddress, ServerAddress};

use connection::{Command, Item, MAX_VALUE_BYTES, Reply};
use sealed::Mark;
use server::{Failure, Server};

/// Begins every key, with the number of the format.
const PREFIX: &str = "iiphost:1:";

/// How long a server that has taken a lease keeps the others waiting if it dies.
const LEASE_SECONDS: u32 = 4;

/// How long others wait for the holder of a lease. Then they make the picture themselves.
const LEASE_PATIENCE: Duration = Duration::from_secs(2);

/// The first pause between two looks for a picture that somebody else makes, doubled up to the last one.
const FIRST_LOOK: Duration = Duration::from_millis(4);
const LAST_LOOK: Duration = Duration::from_millis(64);

/// Bytes that may wait to be stored; what comes beyond them is not stored.
const MAX_PENDING_BYTES: usize = 32 << 20;

/// Room for the seal of a value.
const SEAL_BYTES: usize = 64;

/// How to use memcached.
#[derive(Clone, Debug)]
pub struct MemcachedSettings {
    /// The servers; each key belongs to one of them.
    pub servers: Vec<ServerAddress>,
    /// Seconds until a picture is forgotten, 0 = never; at most thirty days.
    pub seconds: u32,
    /// Longest wait for a server.
    pub patience: Duration,
}

/// The name of a picture, the same on every server that would make the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureKey {
    key: String,
    /// Name of the image it shows: what a purge is about.
    image: String,
}

/// What a look-up came to.
#[derive(Debug)]
pub enum Fetched {
    /// The picture.
    Found(Bytes),
    /// It has to be made. Given back with [`Memcached::store`] or [`Memcached::release`].
    Missing(Lease),
}

/// The task to make a picture, and perhaps the promise to others that it is being made.
#[derive(Debug)]
pub struct Lease {
    key: PictureKey,
    mark: Mark,
    is_held: bool,
    /// Nobody answered: storing would only wait in vain.
    is_worth_storing: bool,
}

/// How often what has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemcachedCounts {
    /// Pictures found.
    pub hits: u64,
    /// Pictures not found.
    pub misses: u64,
    /// Pictures found after waiting for another server that made them. Also hits.
    pub waited: u64,
    /// Values that were not what had been stored.
    pub foreign: u64,
    /// Questions without an answer in time.
    pub failures: u64,
    /// Look-ups that were left out because of failures before.
    pub skipped: u64,
    /// Pictures stored.
    pub stored: u64,
    /// Pictures not stored: too large, too many waiting, refused.
    pub not_stored: u64,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    waited: AtomicU64,
    foreign: AtomicU64,
    failures: AtomicU64,
    skipped: AtomicU64,
    stored: AtomicU64,
    not_stored: AtomicU64,
}

/// The client. Cloning it is cheap; its thread ends with the last clone.
#[derive(Clone, Debug)]
pub struct Memcached {
    inner: Arc<Inner>,
    runtime: tokio::runtime::Handle,
    /// Dropped with the last clone, which ends the thread.
    _alive: Arc<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Inner {
    servers: Vec<Server>,
    seconds: u32,
    patience: Duration,
    pending: AtomicUsize,
    counters: Counters,
}

impl PictureKey {
    /// A key from everything that decides the bytes of a picture, and the name of its image for purges.
    #[must_use]
    pub fn new(picture: &[u8; 32], image: &[u8]) -> Self {
        Self {
            key: format!("{PREFIX}{}", hex(picture)),
            image: image_name(image),
        }
    }
}

fn image_name(image: &[u8]) -> String {
    format!("{PREFIX}{}:purged", hex(&Sha256::digest(image).into()))
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Memcached {
    /// Starts the thread. Servers are reached when they are first needed.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(settings: MemcachedSettings) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // For looking up names, which can hang.
            .max_blocking_threads(4)
            .build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        thread::Builder::new().name("memcached".into()).spawn(move || {
            // The error says that the last clone is gone.
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                servers: settings.servers.into_iter().map(Server::new).collect(),
                seconds: settings.seconds,
                patience: settings.patience,
                pending: AtomicUsize::new(0),
                counters: Counters::default(),
            }),
            runtime: handle,
            _alive: Arc::new(alive),
        })
    }

    /// Runs a future on the thread of this client; it must not block.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(future);
    }

    /// Looks for a picture, waits for another server that makes it, or takes the lease to make it. Without
    /// an answer in time the picture has to be made, too. To be called on the client's thread, see
    /// [`spawn`](Self::spawn).
    pub async fn fetch(&self, key: PictureKey) -> Fetched {
        self.inner.fetch(key).await
    }

    /// Stores a picture that was made. Nobody waits for it; errors are counted.
    pub fn store(&self, lease: Lease, content: Bytes) {
        let inner = &self.inner;
        let len = content.len() + SEAL_BYTES;
        let has_room = len <= MAX_VALUE_BYTES
            && lease.is_worth_storing
            && inner
                .pending
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pending| {
                    pending.checked_add(len).filter(|&sum| sum <= MAX_PENDING_BYTES)
                })
                .is_ok();
        if !has_room {
            inner.counters.not_stored.fetch_add(1, Ordering::Relaxed);
            self.release(lease);
            return;
        }
        let inner = self.inner.clone();
        self.runtime.spawn(async move {
            inner.store(&lease, &content).await;
            inner.pending.fetch_sub(len, Ordering::Relaxed);
        });
    }

    /// Gives a lease back without a picture, so that others need not wait.
    pub fn release(&self, lease: Lease) {
        if lease.is_held {
            let inner = self.inner.clone();
            self.runtime.spawn(async move { inner.release(&lease).await });
        }
    }

    /// Makes all stored pictures of an image unusable, on all servers. Blocks for as long as they take to
    /// answer: not for I/O threads.
    ///
    /// # Errors
    /// The servers that did not answer. What they hold may be served again.
    pub fn purge(&self, image: &[u8]) -> Result<(), Vec<ServerAddress>> {
        let (inner, name) = (self.inner.clone(), image_name(image));
        let (sender, receiver) = std::sync::mpsc::channel();
        self.runtime.spawn(async move {
            // Nobody listens any more if this fails.
            let _ = sender.send(inner.purge(&name).await);
        });
        let servers = &self.inner.servers;
        // Each server is given up in time; a little more for the thread itself.
        let patience = self.inner.patience * u32::try_from(servers.len()).unwrap_or(u32::MAX);
        let purged = receiver.recv_timeout(patience.saturating_add(Duration::from_secs(2)));
        purged.unwrap_or_else(|_| Err(servers.iter().map(|s| s.address.clone()).collect()))
    }

    /// How often what has happened.
    #[must_use]
    pub fn counts(&self) -> MemcachedCounts {
        let counters = &self.inner.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MemcachedCounts {
            hits: read(&counters.hits),
            misses: read(&counters.misses),
            waited: read(&counters.waited),
            foreign: read(&counters.foreign),
            failures: read(&counters.failures),
            skipped: read(&counters.skipped),
            stored: read(&counters.stored),
            not_stored: read(&counters.not_stored),
        }
    }

    /// The servers, and whether each is in use or left alone after failures.
    pub fn servers(&self) -> impl Iterator<Item = (&ServerAddress, bool)> {
        self.inner
            .servers
            .iter()
            .map(|server| (&server.address, server.is_in_use()))
    }
}

impl Inner {
    /// The server of a key: by the highest score, so that with one server more or less few keys move.
    fn server(&self, key: &str) -> Option<&Server> {
        let score = |server: &&Server| -> [u8; 32] {
            Sha256::new()
                .chain_update(server.address.to_string())
                .chain_update([0])
                .chain_update(key)
                .finalize()
                .into()
        };
        match self.servers.as_slice() {
            [only] => Some(only),
            servers => servers.iter().max_by_key(score),
        }
    }

    async fn fetch(&self, key: PictureKey) -> Fetched {
        let lease = |mark: Mark, is_held: bool, is_worth_storing: bool| Lease {
            key: key.clone(),
            mark,
            is_held,
            is_worth_storing,
        };
        let Some(server) = self.server(&key.key) else {
            return Fetched::Missing(lease(Mark::default(), false, false));
        };
        let start = Instant::now();
        let mut deadline = start + self.patience;
        let mut pause = FIRST_LOOK;
        let promise = format!("{}:lease", key.key);
        let mut has_waited = false;
        loop {
            let (value, mark, promised) = match self.look(server, &key, &promise, deadline).await {
                Ok(found) => found,
                Err(failure) => {
                    self.count_failure(&failure);
                    return Fetched::Missing(lease(Mark::default(), false, false));
                }
            };
            if let Some(value) = value {
                if let Some(content) = sealed::open(&key.key, &mark, &value) {
                    self.counters.hits.fetch_add(1, Ordering::Relaxed);
                    self.counters
                        .waited
                        .fetch_add(u64::from(has_waited), Ordering::Relaxed);
                    return Fetched::Found(content);
                }
                // It is replaced when the picture is stored.
                if !has_waited {
                    self.counters.foreign.fetch_add(1, Ordering::Relaxed);
                }
            }
            if !promised {
                let item = Item {
                    key: &promise,
                    value: b"1",
                    seconds: LEASE_SECONDS,
                };
                match server.ask(&Command::Add(item), deadline).await {
                    Ok(Reply::Done(true)) => {
                        self.counters.misses.fetch_add(1, Ordering::Relaxed);
                        return Fetched::Missing(lease(mark, true, true));
                    }
                    // Somebody was faster.
                    Ok(_) => {}
                    Err(failure) => {
                        self.count_failure(&failure);
                        return Fetched::Missing(lease(mark, false, false));
                    }
                }
            }
            if start.elapsed() >= LEASE_PATIENCE {
                self.counters.misses.fetch_add(1, Ordering::Relaxed);
                return Fetched::Missing(lease(mark, false, true));
            }
            has_waited = true;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
            deadline = Instant::now() + self.patience;
        }
    }

    /// What is stored, the mark of the last purge, and whether somebody makes the picture.
    async fn look(
        &self,
        server: &Server,
        key: &PictureKey,
        promise: &str,
        deadline: Instant,
    ) -> Result<(Option<Bytes>, Mark, bool), Failure> {
        let keys = [key.key.as_str(), key.image.as_str(), promise];
        match server.ask(&Command::Get(&keys), deadline).await? {
            Reply::Values(mut values) => {
                let promised = values.pop().flatten().is_some();
                let mark = values.pop().flatten();
                let mark = mark.and_then(|m| Mark::try_from(&m[..]).ok()).unwrap_or_default();
                Ok((values.pop().flatten(), mark, promised))
            }
            Reply::Done(_) => Err(Failure::Failed),
        }
    }

    async fn store(&self, lease: &Lease, content: &[u8]) {
        let key = &lease.key.key;
        let Some(server) = self.server(key) else {
            return;
        };
        let value = sealed::seal(key, &lease.mark, content);
        let item = Item {
            key,
            value: &value,
            seconds: self.seconds,
        };
        let counter = match server
            .ask(&Command::Set(item), Instant::now() + self.patience)
            .await
        {
            Ok(Reply::Done(true)) => &self.counters.stored,
            Ok(_) => &self.counters.not_stored,
            Err(failure) => {
                self.count_failure(&failure);
                &self.counters.not_stored
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        // After the value is there: who waits finds it or may make it.
        if lease.is_held {
            self.release(lease).await;
        }
    }

    async fn release(&self, lease: &Lease) {
        let key = &lease.key.key;
        if let Some(server) = self.server(key) {
            let promise = format!("{key}:lease");
            let deadline = Instant::now() + self.patience;
            // If it stays, it ends by itself.
            if let Err(failure) = server.ask(&Command::Delete(&promise), deadline).await {
                self.count_failure(&failure);
            }
        }
    }

    async fn purge(&self, image: &str) -> Result<(), Vec<ServerAddress>> {
        let mark = new_mark();
        let mut failed = Vec::new();
        for server in &self.servers {
            let item = Item {
                key: image,
                value: &mark,
                seconds: self.seconds,
            };
            let deadline = Instant::now() + self.patience;
            match server.ask(&Command::Set(item), deadline).await {
                Ok(Reply::Done(true)) => {}
                _ => failed.push(server.address.clone()),
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }

    fn count_failure(&self, failure: &Failure) {
        let counter = match failure {
            Failure::LeftAlone => &self.counters.skipped,
            Failure::Failed => &self.counters.failures,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A mark no purge has had before, on any machine.
fn new_mark() -> Mark {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(now.as_nanos().to_le_bytes());
    hash.update(std::process::id().to_le_bytes());
    // The random keys of a hash map differ from process to process.
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), now);
    hash.update(random.to_le_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut mark = Mark::default();
    mark.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    mark
}

#[cfg(test)]
mod tests;
