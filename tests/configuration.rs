//! The configuration file, and what wins over it.

use std::path::PathBuf;
use std::process::Output;

use support::client::Client;
use support::fixture::Images;
use support::server::{command, free_port, run};
use support::wait;
use support::web_server::Deployed;

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file with this text.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("iiphost.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// Asks a host that is started with these arguments and variables on the port for something.
fn with_host<T>(
    arguments: &[&str],
    variables: &[(&str, &str)],
    port: u16,
    ask: impl FnOnce(Client) -> T,
) -> T {
    let mut child = command()
        .args(arguments)
        .envs(variables.iter().copied())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let address = ([127, 0, 0, 1], port).into();
    let ready = wait::within(wait::PATIENCE, || {
        std::net::TcpStream::connect(address).ok().map(drop)
    });
    let answer = ready.map(|()| ask(Client::new(address)));
    child.kill().unwrap();
    child.wait().unwrap();
    answer.expect("the host listens")
}

#[test]
fn a_host_is_started_from_a_file_alone() {
    let (images, _) = Images::with_photo();
    let port = free_port();
    let text = format!(
        "http = \"127.0.0.1:{port}\"\nfilesystem_prefix = \"{}/\"\nmax_cvt = 100\nuri_map = [\"pictures=>IIIF\"]\n",
        images.folder().display()
    );
    let (_folder, path) = file(&text);
    let path = path.to_str().unwrap();
    let width = |client: Client| {
        client
            .get("/pictures/photo.tif/full/max/0/default.jpg")
            .picture()
            .width
    };
    assert_eq!(with_host(&["--config", path], &[], port, width), 100);
    assert_eq!(with_host(&[], &[("IIPHOST_CONFIG", path)], port, width), 100);
    // A variable wins over the file, a flag over both.
    let variables = [("IIPHOST_CONFIG", path), ("MAX_CVT", "80")];
    assert_eq!(with_host(&[], &variables, port, width), 80);
    assert_eq!(with_host(&["--max-cvt", "60"], &variables, port, width), 60);
    let other = free_port();
    let flag = format!("127.0.0.1:{other}");
    assert_eq!(with_host(&["--http", &flag], &variables, other, width), 80);
}

#[test]
fn every_mistake_of_a_file_is_told_at_once_by_line_and_name() {
    let (_folder, path) = file(
        "bind = [\"127.0.0.1:99999\"]\nmax_ctv = 3\njpeg_quality = 500\nrender_queue = \"many\"\n\
         cors = true\n[encoders]\n",
    );
    let path = path.to_str().unwrap();
    for arguments in [&["--config", path, "--check-config"][..], &["--config", path]] {
        let output = run(arguments.iter().copied(), &[("RENDER_THREADS", "x")]);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let told = errors(&output);
        for expected in [
            "bind 127.0.0.1:99999",
            &format!("{path}:2: max_ctv: there is no such setting; max_cvt is the nearest"),
            &format!("{path}:3: jpeg_quality: \"500\" is not 1 to 100"),
            &format!("{path}:4: render_queue"),
            &format!("{path}:6: encoders"),
            "RENDER_THREADS",
        ] {
            assert!(told.contains(expected), "{expected} in {told}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_stops_the_start() {
    let (_folder, path) = file("max_cvt = = 3\nthis is no line\n");
    let broken = path.to_str().unwrap();
    for (variable, expected) in [
        ("/nothing/here.toml", "/nothing/here.toml"),
        (broken, "iiphost.toml:1"),
    ] {
        let output = run(["--http", "127.0.0.1:0"], &[("IIPHOST_CONFIG", variable)]);
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains(expected), "{}", errors(&output));
    }
}

#[test]
fn one_request_reads_the_file_too() {
    let (images, _) = Images::with_photo();
    let (_folder, path) = file(&format!(
        "filesystem_prefix = \"{}/\"\n",
        images.folder().display()
    ));
    let output = run(
        [
            "get",
            "FIF=photo.tif&OBJ=Max-size",
            "--config",
            path.to_str().unwrap(),
        ],
        &[],
    );
    assert_eq!(output.stdout, b"Max-size:1000 700\r\n", "{}", errors(&output));
}

#[test]
fn the_file_to_start_from_is_good_with_every_line_of_it_in_force() {
    let (images, _) = Images::with_photo();
    let deployed = Deployed::read("iiphost.toml");
    let lines: Vec<String> = deployed
        .text()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            // A setting that is switched off, not a sentence.
            Some(setting) if setting.contains(" = ") && !setting.starts_with(' ') => setting.to_owned(),
            _ => line.to_owned(),
        })
        .map(|line| line.replace("/srv/images/", &format!("{}/", images.folder().display())))
        .map(|line| line.replace("/var/log/iiphost", &images.folder().display().to_string()))
        .collect();
    for text in [
        deployed
            .text()
            .replace("/srv/images", &images.folder().display().to_string()),
        lines.join("\n"),
    ] {
        let (_folder, path) = file(&text);
        let output = run(["--config", path.to_str().unwrap(), "--check-config"], &[]);
        assert!(output.status.success(), "{}", errors(&output));
        assert!(errors(&output).is_empty(), "{}", errors(&output));
    }
}

#[test]
fn a_setting_of_the_file_is_a_setting_of_the_environment() {
    let help = run(["--help"], &[]);
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    // Every variable that the help names is known to the file: a wrong value is told under its name.
    let names: Vec<&str> = help
        .split('[')
        .filter_map(|part| Some(part.split_once(';')?.0))
        .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect();
    assert!(names.len() > 40, "{names:?}");
    let text: String = names
        .iter()
        .map(|name| format!("{} = {{}}\n", name.to_ascii_lowercase()))
        .collect();
    let (_folder, path) = file(&text);
    let output = run(["--config", path.to_str().unwrap(), "--check-config"], &[]);
    let told = errors(&output);
    for name in names {
        let expected = format!("{}: ", name.to_ascii_lowercase());
        let line = told.lines().find(|line| line.contains(&expected));
        assert!(
            line.is_some_and(|l| l.contains("not a table")),
            "{name} in {told}"
        );
    }
}
