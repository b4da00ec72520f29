//! A web server in front of the host: a process, port and folder of its own, and a configuration of
//! `deploy/` as it is but for what an operator has to adapt.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::Client;
use crate::server::free_port;
use crate::{built, wait};

/// A running web server; it ends with this value.
#[derive(Debug)]
pub struct WebServer {
    name: &'static str,
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

/// A file of `deploy/`, adapted.
#[derive(Clone, Debug)]
pub struct Deployed {
    name: String,
    text: String,
}

impl Deployed {
    /// Reads a file of `deploy/`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn read(name: &str) -> Self {
        let path = built::repository().join("deploy").join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self {
            name: name.to_owned(),
            text,
        }
    }

    /// Replaces a text that occurs a known number of times: a test that adapts something else than it
    /// believes tests something else.
    ///
    /// # Panics
    /// When it occurs more or less often.
    #[must_use]
    pub fn replace(mut self, there: &str, here: &str, times: usize) -> Self {
        let found = self.text.matches(there).count();
        assert_eq!(found, times, "{there:?} in deploy/{}", self.name);
        self.text = self.text.replace(there, here);
        self
    }

    /// The file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A program that may be among those of administrators.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/local/sbin".into(), "/usr/sbin".into(), "/sbin".into()]);
    let found = folders.iter().map(|f| f.join(name)).find(|p| p.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: make setup"))
}

/// Lets every user into a folder: a web server started by root works as another one.
pub fn open_to_all(folder: &Path) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).expect("a folder of the test");
}

impl WebServer {
    /// Starts a web server. `prepare` writes its configuration into a folder, for an address, and gives
    /// the command that runs it in the foreground; what it complains about goes to `error.log` there.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(name: &'static str, prepare: impl Fn(&Path, SocketAddr) -> Command) -> Self {
        let started = (0..5).find_map(|_| Self::try_start(name, &prepare));
        started.expect("five times somebody else took the port")
    }

    fn try_start(name: &'static str, prepare: &impl Fn(&Path, SocketAddr) -> Command) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        open_to_all(folder.path());
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = prepare(folder.path(), address);
        let output = std::fs::File::create(folder.path().join("output")).expect("a file");
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|e| panic!("{name} cannot be started: {e}"));
        let mut server = Self {
            name,
            child,
            address,
            folder,
        };
        let ready = wait::until(&format!("{name} answers"), || {
            if server
                .child
                .try_wait()
                .expect("the state of the web server")
                .is_some()
            {
                return Some(false);
            }
            TcpStream::connect(address).is_ok().then_some(true)
        });
        if ready {
            return Some(server);
        }
        let log = format!("{}{}", server.output(), server.log());
        assert!(log.contains("Address already in use"), "{name} ended: {log}");
        None
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    /// What the web server complains about.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }

    /// The same without notices of its start, and without the log of a host it has started.
    #[must_use]
    pub fn complaints(&self) -> String {
        let log = self.log();
        let harmless = [":notice]", "server started", "Z  INFO "];
        let serious = |line: &&str| !harmless.iter().any(|part| line.contains(part));
        log.lines()
            .filter(serious)
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// A client of the web server.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder with its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the web server and waits for it: those who spawn the host end it, too.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // A master ends its workers only if it is asked to; one that has ended needs no asking.
        let asked = kill_process(Pid::from_child(&self.child), Signal::TERM);
        if asked.is_ok() && wait::within(wait::PATIENCE, || self.child.try_wait().ok().flatten()).is_some() {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("{}:\n{}{}", self.name, self.output(), self.log());
        }
    }
}
