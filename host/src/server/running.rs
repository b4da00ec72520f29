//! From a configuration to running threads, and back to rest.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::accept::Protocol;
use super::activation::Activation;
use super::admission::{Admission, connections_within_open_files};
use super::balance::Load;
use super::config::ListenConfig;
use super::listener::{ListenError, Listener, LocalAddress};
use super::service::Service;
use super::signals::{Order, Signals};
use super::stop::{Phase, Stop};
use super::worker::{self, Context, Entrance};

/// Listening sockets, open but not served yet: clients can connect, and wait.
#[derive(Debug)]
pub struct Bound {
    config: ListenConfig,
    listeners: Vec<(Protocol, Listener)>,
    admission: Arc<OnceLock<Arc<Admission>>>,
}

/// Tells how many connections there are.
#[derive(Clone, Debug)]
pub struct Connections(Arc<OnceLock<Arc<Admission>>>);

impl Connections {
    /// Connections there are, idle ones included, and how many are served at a time; 0 before the start.
    #[must_use]
    pub fn now(&self) -> (usize, usize) {
        let admission = self.0.get();
        admission.map_or((0, 0), |admission| (admission.taken_places(), admission.limit()))
    }
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every request was answered.
    Drained,
    /// Requests that took longer than [`Timeouts::drain`](super::Timeouts::drain) were dropped.
    OutOfTime,
    /// A second signal came: everything was dropped at once.
    AtOnce,
}

impl Bound {
    /// Opens all listening sockets.
    ///
    /// # Errors
    /// When one cannot be opened; the others are closed again.
    pub fn bind(config: ListenConfig) -> Result<Self, ListenError> {
        Self::with_activation(config, Activation::default())
    }

    /// The same, with sockets that a service manager has opened. Where there are some, none is expected as
    /// file descriptor 0.
    ///
    /// # Errors
    /// When one cannot be opened; the others are closed again.
    pub fn with_activation(config: ListenConfig, activation: Activation) -> Result<Self, ListenError> {
        let mut listeners = activation.listeners;
        if config.inherited && listeners.is_empty() {
            listeners.push((Protocol::FastCgi, Listener::inherited()?));
        }
        let fastcgi = config.fastcgi.iter().map(|address| (Protocol::FastCgi, address));
        let http = config.http.iter().map(|address| (Protocol::Http, address));
        for (protocol, address) in fastcgi.chain(http) {
            let bound = Listener::bind(address, config.backlog, config.socket_mode)?;
            listeners.extend(bound.into_iter().map(|listener| (protocol, listener)));
        }
        if listeners.is_empty() {
            return Err(ListenError::Nowhere);
        }
        Ok(Self {
            config,
            listeners,
            admission: Arc::default(),
        })
    }

    /// Where FastCGI is spoken, with the real ports.
    pub fn fastcgi_addresses(&self) -> impl Iterator<Item = &LocalAddress> {
        self.addresses(Protocol::FastCgi)
    }

    /// Where HTTP is spoken, with the real ports.
    pub fn http_addresses(&self) -> impl Iterator<Item = &LocalAddress> {
        self.addresses(Protocol::Http)
    }

    /// The count of connections, now and once it serves.
    #[must_use]
    pub fn connections(&self) -> Connections {
        Connections(Arc::clone(&self.admission))
    }

    fn addresses(&self, protocol: Protocol) -> impl Iterator<Item = &LocalAddress> {
        self.listeners
            .iter()
            .filter(move |(p, _)| *p == protocol)
            .map(|(_, listener)| &listener.local)
    }

    /// Serves on threads of its own, until [`Running::stop`].
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(self, service: Arc<dyn Service>) -> io::Result<Running> {
        let Self {
            config,
            listeners,
            admission: known,
        } = self;
        let max_connections = connections_within_open_files(config.max_connections);
        let admission = Arc::new(Admission::new(max_connections));
        // Set once: this takes `self`.
        let _ = known.set(Arc::clone(&admission));
        let (phase, _) = watch::channel(Phase::Running);
        let (ended, all_ended) = mpsc::channel(1);
        let mut running = Running {
            drain: config.timeouts.drain,
            max_connections,
            admission: Arc::clone(&admission),
            phase,
            all_ended,
            threads: Vec::new(),
            listeners: Vec::new(),
        };
        let loads = Load::of_threads(config.io_threads.max(1));
        for (number, load) in loads.into_iter().enumerate() {
            let entrances = listeners
                .iter()
                .map(|(protocol, listener)| {
                    let (fd, is_tcp) = listener.try_clone()?;
                    Ok(Entrance {
                        fd,
                        is_tcp,
                        protocol: *protocol,
                    })
                })
                .collect::<io::Result<Vec<_>>>()?;
            let (alive, last_gone) = mpsc::channel(1);
            let context = Arc::new(Context {
                service: Arc::clone(&service),
                admission: Arc::clone(&admission),
                load,
                max_connections,
                intake: config.intake,
                timeouts: config.timeouts,
                allowed_web_servers: config.allowed_web_servers.clone(),
                stop: Stop::default(),
                _alive: alive,
            });
            let phase = running.phase.subscribe();
            let ended: mpsc::Sender<std::convert::Infallible> = ended.clone();
            let thread = thread::Builder::new()
                .name(format!("io-{number}"))
                .spawn(move || {
                    let served = worker::serve(context, last_gone, entrances, phase);
                    if let Err(error) = &served {
                        tracing::error!("an I/O thread cannot serve: {error}");
                    }
                    drop(ended);
                })?;
            running.threads.push(thread);
        }
        // The threads have handles of their own; these hold the files of UNIX sockets until the stop.
        running.listeners = listeners.into_iter().map(|(_, listener)| listener).collect();
        Ok(running)
    }

    /// Serves until a signal says stop: the life of the process.
    ///
    /// SIGTERM, SIGINT and SIGUSR1 stop gently, a second one at once; SIGHUP calls `reload`, on this
    /// thread, while requests go on.
    ///
    /// # Errors
    /// When threads or signal handlers cannot be had.
    pub fn run(self, service: Arc<dyn Service>, mut reload: impl FnMut()) -> io::Result<Stopped> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        runtime.block_on(async {
            let mut signals = Signals::new()?;
            let running = self.start(service)?;
            loop {
                match signals.next().await {
                    Order::Reload => {
                        tracing::info!("SIGHUP: reloading");
                        if catch_unwind(AssertUnwindSafe(&mut reload)).is_err() {
                            tracing::error!("the reload panicked; some of the state may be old");
                        }
                    }
                    Order::Stop(name) => {
                        tracing::info!("{name}: stopping when the running requests are answered");
                        break;
                    }
                }
            }
            let second = async { while signals.next().await == Order::Reload {} };
            Ok(running.stop_unless(second).await)
        })
    }
}

/// Threads that serve.
#[derive(Debug)]
pub struct Running {
    drain: Duration,
    max_connections: usize,
    admission: Arc<Admission>,
    phase: watch::Sender<Phase>,
    all_ended: mpsc::Receiver<std::convert::Infallible>,
    threads: Vec<JoinHandle<()>>,
    listeners: Vec<Listener>,
}

impl Running {
    /// Connections there are, idle ones included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.admission.taken_places()
    }

    /// Connections that are served at a time; see [`ListenConfig::max_connections`].
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// Stops accepting, waits for running requests, and ends.
    pub async fn stop(self) -> Stopped {
        self.stop_unless(std::future::pending()).await
    }

    /// The same, but drops what still runs when `at_once` is ready.
    async fn stop_unless(mut self, at_once: impl Future<Output = ()>) -> Stopped {
        // The files of UNIX sockets go first: a successor may come as soon as we no longer accept.
        self.listeners.clear();
        self.phase.send_replace(Phase::Draining);
        let stopped = tokio::select! {
            biased;
            _ = self.all_ended.recv() => Stopped::Drained,
            () = at_once => Stopped::AtOnce,
            () = tokio::time::sleep(self.drain) => Stopped::OutOfTime,
        };
        self.phase.send_replace(Phase::Ending);
        if stopped == Stopped::Drained {
            for thread in self.threads {
                if thread.join().is_err() {
                    tracing::error!("an I/O thread panicked");
                }
            }
        }
        stopped
    }
}
