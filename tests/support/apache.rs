//! Apache in front of the host, with the configurations of `deploy/apache`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::installed::Installed;
use crate::web_server::{Deployed, WebServer, program};

const MODULES: &str = "/usr/lib/apache2/modules";

/// Apache with `iiphost-proxy-fcgi.conf` in front of a host that listens on TCP.
#[must_use]
pub fn proxy(fastcgi: SocketAddr) -> WebServer {
    let site = Deployed::read("apache/iiphost-proxy-fcgi.conf").replace(
        "fcgi://127.0.0.1:9000",
        &format!("fcgi://{fastcgi}"),
        5,
    );
    start(&site, &["env", "proxy", "proxy_fcgi"])
}

/// Apache with `iiphost-fcgid.conf`, which starts the host.
#[must_use]
pub fn fcgid(installed: &Installed, images: &Path) -> WebServer {
    let program = installed.program();
    let folder = program.parent().expect("a program has a folder").display();
    let site = Deployed::read("apache/iiphost-fcgid.conf")
        .replace("/usr/local/bin", &folder.to_string(), 5)
        .replace("/srv/images/", &format!("{}/", images.display()), 1);
    start(&site, &["alias", "fcgid"])
}

fn start(site: &Deployed, modules: &[&str]) -> WebServer {
    // Apache refuses to work as root.
    let user = if rustix::process::geteuid().is_root() {
        "User www-data\nGroup www-data\n"
    } else {
        ""
    };
    let modules: String = ["mpm_event", "authz_core"]
        .iter()
        .chain(modules)
        .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
        .collect();
    WebServer::start("apache2", |folder, address| {
        let root = folder.display();
        let site = site
            .clone()
            .replace("<VirtualHost *:80>", &format!("<VirtualHost {address}>"), 1);
        let main = format!(
            "ServerRoot {root}\nServerName localhost\nDefaultRuntimeDir {root}\nPidFile {root}/pid\n\
             ErrorLog {root}/error.log\nLogLevel warn\nMutex file:{root} default\nListen {address}\n\
             {modules}{user}<IfModule fcgid_module>\n    FcgidIPCDir {root}/fcgid\n    \
             FcgidProcessTableFile {root}/fcgid_shm\n</IfModule>\n<Directory />\n    \
             Require all denied\n</Directory>\n\
             DocumentRoot {root}\n<Directory {root}>\n    Require all granted\n</Directory>\nInclude {root}/site.conf\n"
        );
        std::fs::write(folder.join("site.conf"), site.text()).expect("a configuration file");
        std::fs::write(folder.join("apache.conf"), main).expect("a configuration file");
        let mut command = Command::new(program("apache2"));
        command
            .args(["-D", "FOREGROUND", "-d"])
            .arg(folder)
            .arg("-f")
            .arg(folder.join("apache.conf"));
        command
    })
}
