//! `iiphost get`: one request without a server.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::builder::PathBufValueParser;
use clap::{Arg, ArgMatches, Command};

use super::serve::{self, Modules};
use crate::config::Values;
use crate::server::{Cancel, Request, Service, Transport};

/// The subcommand.
pub(super) fn command() -> Command {
    Command::new("get")
        .about("Answer one request, a query or a path, without a server")
        .arg(
            Arg::new("REQUEST")
                .required(true)
                .help("As in 'FIF=a.tif&CVT=JPEG', or a path as in /iiif/3/a.tif/info.json"),
        )
        .arg(super::config_argument())
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .value_parser(PathBufValueParser::new())
                .help("Write the body to a file, not to standard output"),
        )
        .arg(
            Arg::new("DIR")
                .long("dir")
                .value_parser(PathBufValueParser::new())
                .help("Folder of images, where FILESYSTEM_PREFIX is not set; default: the working directory"),
        )
}

/// Answers the request; the header goes to standard error, the body to the output. Fails for a status
/// of 400 and more.
pub(super) fn run(matches: &ArgMatches, values: &Values) -> anyhow::Result<ExitCode> {
    let config = super::config(values)?;
    let Modules { registry, failures } = serve::load(&config)?;
    super::refuse(failures.iter().map(ToString::to_string))?;
    let directory = matches.get_one::<PathBuf>("DIR").cloned();
    let handler = Arc::new(serve::handler(config, registry, directory, true)?);
    let asked = matches.get_one::<String>("REQUEST").context("no request")?;
    let mut request = Request::new(Transport::Http);
    match asked.strip_prefix('/') {
        Some(_) => {
            let (path, query) = asked.split_once('?').unwrap_or((asked, ""));
            request.path = path.to_owned();
            request.query = query.into();
        }
        None => {
            request.path = crate::protocol::dispatch::QUERY_ENDPOINT.to_owned();
            request.query = asked.as_bytes().to_vec();
        }
    }
    request.server_name = Some("localhost".to_owned());
    let reply = match handler.try_answer(&request) {
        Some(reply) => reply,
        None => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()?;
            runtime.block_on(handler.answer(request, Cancel::new()))
        }
    };
    let mut header = format!(
        "{} {}\n",
        reply.status,
        crate::server::Response::reason(reply.status)
    );
    for (name, value) in &reply.headers {
        header.push_str(&format!("{name}: {value}\n"));
    }
    eprint!("{header}");
    match matches
        .get_one::<PathBuf>("output")
        .filter(|_| reply.status < 400)
    {
        Some(path) => {
            std::fs::write(path, &reply.body).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => std::io::stdout().lock().write_all(&reply.body)?,
    }
    Ok(if reply.status < 400 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
