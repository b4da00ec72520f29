//! nginx in front of one host or two, with the configurations of `deploy/nginx`.

use std::process::Command;

use crate::web_server::{Deployed, WebServer, program};

/// nginx with `iiphost.conf` in front of one host, `host:port` or `unix:` and a path.
#[must_use]
pub fn single(fastcgi: &str) -> WebServer {
    let site = Deployed::read("nginx/iiphost.conf").replace(
        "server 127.0.0.1:9000;",
        &format!("server {fastcgi};"),
        1,
    );
    start(&site)
}

/// nginx with `iiphost-cluster.conf` in front of two hosts.
#[must_use]
pub fn cluster(fastcgi: [&str; 2]) -> WebServer {
    let [first, second] = fastcgi;
    let site = Deployed::read("nginx/iiphost-cluster.conf")
        .replace("server 192.0.2.1:9000 ", &format!("server {first} "), 1)
        .replace("server 192.0.2.2:9000 ", &format!("server {second} "), 1);
    start(&site)
}

fn start(site: &Deployed) -> WebServer {
    // A worker of another user could not connect to the test's socket.
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    WebServer::start("nginx", |folder, address| {
        let root = folder.display();
        let site = site
            .clone()
            .replace("listen 80;", &format!("listen {address};"), 1)
            .replace("listen [::]:80;", "", 1);
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {root}/{name};\n"))
            .concat();
        let main = format!(
            "{user}\ndaemon off;\nworker_processes 1;\npid {root}/pid;\nerror_log {root}/error.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n    access_log off;\n{temporary}    include {root}/site.conf;\n}}\n"
        );
        std::fs::write(folder.join("site.conf"), site.text()).expect("a configuration file");
        std::fs::write(folder.join("nginx.conf"), main).expect("a configuration file");
        let mut command = Command::new(program("nginx"));
        command
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .arg("-e")
            .arg(folder.join("error.log"));
        command
    })
}
