//! nginx in front of the host: a process, port and folder of its own, and the configuration of
//! `deploy/nginx` as it is.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::client::Client;
use crate::server::free_port;
use crate::{built, wait};

/// A running nginx; it ends with this value.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

/// A program that may be among those of administrators.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/local/sbin".into(), "/usr/sbin".into(), "/sbin".into()]);
    let found = folders.iter().map(|f| f.join(name)).find(|p| p.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: make setup"))
}

impl Nginx {
    /// Starts nginx with `deploy/nginx/iiphost.conf`, its port and its FastCGI server replaced.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(fastcgi: &str) -> Self {
        let started = (0..5).find_map(|_| Self::try_start(fastcgi));
        started.expect("five times somebody else took the port")
    }

    fn try_start(fastcgi: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let deployed = built::repository().join("deploy/nginx/iiphost.conf");
        let mut site =
            std::fs::read_to_string(&deployed).unwrap_or_else(|e| panic!("{}: {e}", deployed.display()));
        for (there, here) in [
            ("listen 80;", format!("listen {address};")),
            ("listen [::]:80;", String::new()),
            ("server 127.0.0.1:9000;", format!("server {fastcgi};")),
        ] {
            assert_eq!(
                site.matches(there).count(),
                1,
                "{there} in {}",
                deployed.display()
            );
            site = site.replace(there, &here);
        }
        let root = folder.path().display();
        // A worker of another user could not connect to the test's socket.
        let user = if rustix::process::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {root}/{name};\n"))
            .concat();
        let main = format!(
            "{user}\ndaemon off;\nworker_processes 1;\npid {root}/pid;\nerror_log {root}/error.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n    access_log off;\n{temporary}    include {root}/site.conf;\n}}\n"
        );
        std::fs::write(folder.path().join("site.conf"), site).expect("a configuration file");
        std::fs::write(folder.path().join("nginx.conf"), main).expect("a configuration file");
        let child = Command::new(program("nginx"))
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(folder.path().join("nginx.conf"))
            .arg("-e")
            .arg(folder.path().join("error.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx can be started");
        let mut nginx = Self {
            child,
            address,
            folder,
        };
        let ready = wait::until("nginx answers", || {
            if nginx.child.try_wait().expect("the state of nginx").is_some() {
                return Some(false);
            }
            TcpStream::connect(address).is_ok().then_some(true)
        });
        if ready {
            return Some(nginx);
        }
        let log = nginx.log();
        assert!(log.contains("Address already in use"), "nginx ended: {log}");
        None
    }

    /// What nginx complains about.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }

    /// A client of nginx.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// The address nginx listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers only if it is asked to; one that has ended needs no asking.
        let asked = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        );
        if asked.is_ok() && wait::within(wait::PATIENCE, || self.child.try_wait().ok().flatten()).is_some() {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
