//! Starting what is measured, and what its processes used.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// Where Debian installs the peer.
const PEER: &str = "/usr/lib/iipimage-server/iipsrv.fcgi";
/// It answers one request at a time; this is its only way to two cores.
const PEER_PROCESSES: usize = 2;

/// The peer of this machine.
pub(crate) struct Peer {
    path: PathBuf,
    /// Its name with the version of its package.
    pub(crate) name: String,
}

impl Peer {
    /// Debian's `iipimage-server`, where it is installed.
    pub(crate) fn find() -> Option<Self> {
        let path = PathBuf::from(PEER);
        path.exists().then(|| {
            let version = Command::new("dpkg-query")
                .args(["--show", "--showformat=${Version}", "iipimage-server"])
                .output()
                .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
                .unwrap_or_default();
            Self {
                path,
                name: format!("iipimage-server {version}"),
            }
        })
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Running {
    processes: Vec<Child>,
    /// Where it speaks FastCGI.
    pub(crate) address: SocketAddr,
}

impl Running {
    /// The host, with the variables of the row.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn host(path: &Path, images: &Path, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(path);
        command.arg("--bind").arg(address.to_string());
        Self::start(vec![prepared(command, images, variables)], address)
    }

    /// The peer as processes on one listening socket, as spawn-fcgi starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn peer(peer: &Peer, images: &Path, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let commands = (0..PEER_PROCESSES)
            .map(|_| {
                let mut command = prepared(Command::new(&peer.path), images, variables);
                command
                    .stdin(OwnedFd::from(listener.try_clone()?))
                    .env("LOGFILE", "/dev/null")
                    .env("MEMCACHED_SERVERS", "")
                    .env("OMP_NUM_THREADS", "1");
                Ok(command)
            })
            .collect::<std::io::Result<_>>()?;
        Self::start(commands, address)
    }

    /// The floor: a responder without images, whose replies have bodies of this length.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn floor(path: &Path, length: usize) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(path);
        command.args(["floor", &address.to_string(), &length.to_string()]);
        Self::start(vec![command], address)
    }

    fn start(commands: Vec<Command>, address: SocketAddr) -> anyhow::Result<Self> {
        let mut running = Self {
            processes: Vec::new(),
            address,
        };
        for mut command in commands {
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let process = command.spawn().with_context(|| format!("starting {command:?}"))?;
            running.processes.push(process);
        }
        let patience = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > patience {
                bail!("{address} takes no connections");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(running)
    }

    /// Processor time of all its processes.
    pub(crate) fn processor_time(&self) -> Duration {
        let ticks: u64 = self.processes.iter().map(|p| ticks(p.id()).unwrap_or(0)).sum();
        // Linux reports it in hundredths of a second, on every machine this runs on.
        Duration::from_millis(ticks * 10)
    }

    /// Peak of the memory of all its processes together in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.processes.iter().map(|p| peak(p.id()).unwrap_or(0)).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for process in &mut self.processes {
            if process.kill().is_ok() {
                let _ = process.wait();
            }
        }
    }
}

fn prepared(mut command: Command, images: &Path, variables: &[(&str, &str)]) -> Command {
    command
        .env_clear()
        .env("FILESYSTEM_PREFIX", format!("{}/", images.display()))
        .env("VERBOSITY", "0")
        .env("MAX_CVT", "10000")
        .envs(variables.iter().copied());
    command
}

fn ticks(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may contain spaces; times of user and kernel are fields 14 and 15.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn peak(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
