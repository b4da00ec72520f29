//! The built host as a process: started on free ports, watched, ended.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::Client;
use crate::fastcgi::FastCgi;
use crate::{built, wait};

/// How to start a host.
#[derive(Clone, Debug)]
pub struct Settings {
    images: PathBuf,
    variables: Vec<(String, OsString)>,
    ipv6: bool,
    open_files: Option<u32>,
}

/// A running host; it ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    http: SocketAddr,
    fastcgi: SocketAddr,
    folder: TempDir,
}

/// The host's program with an environment that sets none of its variables.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new(built::host());
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the host's program to its end.
#[must_use]
pub fn run<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>, variables: &[(&str, &str)]) -> Output {
    command()
        .args(arguments.into_iter().map(Into::into))
        .envs(variables.iter().copied())
        .output()
        .expect("the host's program can be started")
}

/// Asks a process to end.
pub fn terminate(child: &Child) {
    kill_process(Pid::from_child(child), Signal::TERM).expect("the process can be signaled");
}

/// A TCP port nobody listens on at the moment.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its number").port()
}

impl Settings {
    /// A host for the images in a folder.
    #[must_use]
    pub fn new(images: &Path) -> Self {
        Self {
            images: images.to_owned(),
            variables: Vec::new(),
            ipv6: false,
            open_files: None,
        }
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Listens on the IPv6 loopback address.
    #[must_use]
    pub fn on_ipv6(mut self) -> Self {
        self.ipv6 = true;
        self
    }

    /// Lets the host have no more open files than this.
    #[must_use]
    pub fn with_open_files(mut self, count: u32) -> Self {
        self.open_files = Some(count);
        self
    }

    fn command(&self) -> Command {
        let Some(count) = self.open_files else {
            return command();
        };
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &format!("ulimit -n {count} && exec \"$0\" \"$@\"")])
            .arg(built::host())
            .env_clear()
            .stdin(Stdio::null());
        shell
    }

    /// Starts the host and waits until it answers over HTTP and FastCGI.
    ///
    /// # Panics
    /// When it does not, with its log.
    #[must_use]
    pub fn start(&self) -> Server {
        // A free port can be taken by somebody else before the host has it.
        let started = (0..5).find_map(|_| self.try_start());
        started.expect("five times somebody else took the port")
    }

    fn try_start(&self) -> Option<Server> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = |port| {
            let host = if self.ipv6 { "[::1]" } else { "127.0.0.1" };
            format!("{host}:{port}")
                .parse::<SocketAddr>()
                .expect("an address")
        };
        let (http, fastcgi) = (address(free_port()), address(free_port()));
        let log = File::create(folder.path().join("log")).expect("a log file");
        let child = self
            .command()
            .arg(&self.images)
            .arg("--http")
            .arg(http.to_string())
            .arg("--bind")
            .arg(fastcgi.to_string())
            .arg("--bind")
            .arg(folder.path().join("socket"))
            .envs(self.variables.iter().map(|(n, v)| (n, v)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the host's program can be started");
        let mut server = Server {
            child,
            http,
            fastcgi,
            folder,
        };
        enum State {
            Ready,
            Ended(ExitStatus),
        }
        let state = wait::within(wait::PATIENCE, || {
            if let Some(status) = server.child.try_wait().expect("the state of the host") {
                return Some(State::Ended(status));
            }
            // The log line comes last: the sockets exist before the modules are loaded.
            let ready = server.log().contains("started")
                && TcpStream::connect(http).is_ok()
                && TcpStream::connect(fastcgi).is_ok()
                && UnixStream::connect(server.socket()).is_ok();
            ready.then_some(State::Ready)
        });
        match state {
            Some(State::Ready) => Some(server),
            Some(State::Ended(_)) if server.log().contains("Address already in use") => None,
            Some(State::Ended(status)) => panic!("the host ended ({status}): {}", server.log()),
            None => panic!("the host does not answer: {}", server.log()),
        }
    }
}

impl Server {
    /// A host with default settings for the images in a folder.
    #[must_use]
    pub fn start(images: &Path) -> Self {
        Settings::new(images).start()
    }

    /// An HTTP client.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.http)
    }

    /// The HTTP address.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The FastCGI address.
    #[must_use]
    pub fn fastcgi(&self) -> SocketAddr {
        self.fastcgi
    }

    /// The FastCGI UNIX socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// A FastCGI connection over TCP.
    #[must_use]
    pub fn fastcgi_client(&self) -> FastCgi {
        FastCgi::tcp(self.fastcgi)
    }

    /// What the host logged up to now: lines are written a moment after what they tell.
    ///
    /// # Panics
    /// When the host does not answer, or logs no access lines.
    #[must_use]
    pub fn settled_log(&self) -> String {
        // Lines keep their order: once this request is in the log, all before it are.
        let mark = format!("/health/live?{}", self.log().len());
        let _ = self.client().get(&mark);
        wait::until("the log tells of a request", || {
            let log = self.log();
            log.lines().any(|line| line.contains(&mark)).then_some(log)
        })
    }

    /// What the host logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("log")).expect("the log file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The host's own account of itself.
    #[must_use]
    pub fn health(&self) -> serde_json::Value {
        self.client().get("/health").expect(200).json()
    }

    /// How many pictures the host has made itself, as it counts them.
    ///
    /// # Panics
    /// When it does not say.
    #[must_use]
    pub fn pictures_made(&self) -> u64 {
        let metrics = self.client().get("/metrics").expect(200);
        let line = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix("iiphost_pictures_total{origin=\"made\"} "));
        let count = line.and_then(|count| count.parse().ok());
        count.expect("a count of pictures")
    }

    /// Whether the process runs.
    #[must_use]
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("the state of the host").is_none()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the host can be signaled");
    }

    /// Stops the host's threads, until [`Signal::CONT`], and waits for them to stand still: a signal is only on its way
    /// when it has been sent.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let folder = format!("/proc/{}/task", self.child.id());
        let stands = |task: std::io::Result<std::fs::DirEntry>| {
            let path = task.expect("a thread of the host").path().join("stat");
            let text = std::fs::read_to_string(path).expect("the state of a thread");
            // The name before it may hold anything but ends with the last parenthesis.
            text.rsplit_once(") ")
                .is_some_and(|(_, state)| state.starts_with('T'))
        };
        wait::until("every thread of the host is stopped", || {
            let mut tasks = std::fs::read_dir(&folder).expect("the threads of the host");
            tasks.all(stands).then_some(())
        });
    }

    /// Waits for the host to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        wait::until("the host ends", || {
            self.child.try_wait().expect("the state of the host")
        })
    }

    /// Files and sockets the host has open.
    #[must_use]
    pub fn open_descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        let entries = std::fs::read_dir(folder).expect("the descriptors of a running process");
        entries.count()
    }

    /// Memory the host has in use, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory the host has had in use, in bytes.
    #[must_use]
    pub fn peak_memory_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).expect("the state of a running process");
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        let number = line.and_then(|l| l.trim().strip_suffix(" kB"));
        number
            .and_then(|n| n.trim().parse::<u64>().ok())
            .unwrap_or_else(|| panic!("{name} in kB"))
            * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A host that has ended already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of the host:\n{}", self.log());
        }
    }
}
