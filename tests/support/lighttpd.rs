//! lighttpd in front of the host, with the configurations of `deploy/lighttpd`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::installed::Installed;
use crate::web_server::{Deployed, WebServer, program};

/// lighttpd with `iiphost-remote.conf` in front of a host that listens on TCP.
#[must_use]
pub fn remote(fastcgi: SocketAddr) -> WebServer {
    start(|_| {
        Deployed::read("lighttpd/iiphost-remote.conf")
            .replace(
                r#""host" => "127.0.0.1""#,
                &format!(r#""host" => "{}""#, fastcgi.ip()),
                1,
            )
            .replace(
                r#""port" => 9000"#,
                &format!(r#""port" => {}"#, fastcgi.port()),
                1,
            )
    })
}

/// lighttpd with `iiphost-spawned.conf`, which starts the host.
#[must_use]
pub fn spawned(installed: &Installed, images: &Path) -> WebServer {
    start(|folder| {
        Deployed::read("lighttpd/iiphost-spawned.conf")
            .replace(
                "/usr/local/bin/iiphost",
                &installed.program().display().to_string(),
                1,
            )
            .replace("/run/lighttpd", &folder.display().to_string(), 1)
            .replace("/srv/images/", &format!("{}/", images.display()), 1)
    })
}

fn start(site: impl Fn(&Path) -> Deployed) -> WebServer {
    WebServer::start("lighttpd", |folder, address| {
        let root = folder.display();
        let main = format!(
            "server.document-root = \"{root}\"\nserver.bind = \"{}\"\nserver.port = {}\n\
             server.errorlog = \"{root}/error.log\"\nserver.pid-file = \"{root}/pid\"\n\
             server.upload-dirs = ( \"{root}\" )\ninclude \"{root}/site.conf\"\n",
            address.ip(),
            address.port(),
        );
        std::fs::write(folder.join("site.conf"), site(folder).text()).expect("a configuration file");
        std::fs::write(folder.join("lighttpd.conf"), main).expect("a configuration file");
        let mut command = Command::new(program("lighttpd"));
        command.arg("-D").arg("-f").arg(folder.join("lighttpd.conf"));
        command
    })
}
