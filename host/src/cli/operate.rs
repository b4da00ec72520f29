//! `iiphost status` and `iiphost purge`: talking to a running server.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::admin::{self, ask, text};
use crate::config::Values;

fn socket() -> Arg {
    Arg::new("ADMIN_SOCKET")
        .long("admin-socket")
        .value_name("PATH")
        .value_parser(OsStringValueParser::new())
        .help("The socket of the server [ADMIN_SOCKET]")
}

/// `iiphost status`.
pub(super) fn status_command() -> Command {
    Command::new("status")
        .about("Show the state of a running server")
        .arg(super::flag("json", "As JSON"))
        .arg(super::config_argument())
        .arg(socket())
}

/// `iiphost purge`.
pub(super) fn purge_command() -> Command {
    Command::new("purge")
        .about("Have a running server forget images: what it holds of them in memory and in memcached")
        .arg(
            Arg::new("IDENTIFIER")
                .required(true)
                .action(ArgAction::Append)
                .value_parser(OsStringValueParser::new())
                .help("As in requests, not percent-encoded"),
        )
        .arg(super::config_argument())
        .arg(socket())
}

fn path(values: &Values) -> anyhow::Result<PathBuf> {
    let (config, _) = crate::config::Config::from_values(values);
    config
        .admin_socket
        .context("no socket named: set ADMIN_SOCKET as for the server, or give --admin-socket")
}

/// Shows the state. Exit status 1 where something is not as it should be.
pub(super) fn status(matches: &ArgMatches, values: &Values) -> anyhow::Result<ExitCode> {
    let state = ask(&path(values)?, &admin::Command::Status)?;
    let text = if matches.get_flag("json") {
        serde_json::to_string_pretty(&state)? + "\n"
    } else {
        text(&state)
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(match state.get("status").and_then(|s| s.as_str()) {
        Some("ok") => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Has images forgotten. Exit status 1 where a memcached server did not hear of it.
pub(super) fn purge(matches: &ArgMatches, values: &Values) -> anyhow::Result<ExitCode> {
    let path = path(values)?;
    let mut code = ExitCode::SUCCESS;
    for identifier in matches.get_many::<OsString>("IDENTIFIER").into_iter().flatten() {
        let command = admin::Command::Purge {
            identifier: identifier.as_bytes().to_vec(),
        };
        let name = identifier.to_string_lossy();
        let done = ask(&path, &command).with_context(|| name.clone().into_owned())?;
        let number = |what: &str| done.get(what).and_then(serde_json::Value::as_u64).unwrap_or(0);
        let (closed, pictures) = (number("closed"), number("pictures"));
        writeln!(
            std::io::stdout(),
            "{name}: {closed} images closed, {pictures} pictures dropped"
        )?;
        for server in done
            .get("unreached")
            .and_then(|s| s.as_array())
            .into_iter()
            .flatten()
        {
            let server = server.as_str().unwrap_or_default();
            eprintln!(
                "iiphost: {name}: memcached {server} did not answer: what it holds may be served again"
            );
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}
