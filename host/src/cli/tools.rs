//! `iiphost pyramid` and `iiphost demo`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, FromArgMatches};
use iiphost_plugin_api::{ImageReader, Limits};

use super::input::Input;
use super::serve::{self, Modules};
use crate::config::Values;
use crate::decoder::CallScope;

/// How long opening the input may take.
const OPEN_TIME: Duration = Duration::from_secs(60);

pub(super) fn pyramid(matches: &ArgMatches, values: &Values) -> anyhow::Result<ExitCode> {
    let args = crate::pyramid::Args::from_arg_matches(matches)?;
    let config = super::config(values)?;
    crate::pyramid::run(&args, |path| open_reader(&config, path).map_err(Into::into))
        .map_err(anyhow::Error::from_boxed)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn demo(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let args = crate::demo::Args::from_arg_matches(matches)?;
    crate::demo::run(&args).map_err(anyhow::Error::from_boxed)?;
    Ok(ExitCode::SUCCESS)
}

/// Opens a file with the module that claims it.
fn open_reader(config: &crate::config::Config, path: &Path) -> anyhow::Result<Box<dyn ImageReader>> {
    let Modules { registry, failures } = serve::load(config)?;
    for failure in &failures {
        eprintln!("iiphost: warning: {failure}");
    }
    let input = Input::open(path)?;
    let scope = CallScope::with_time(OPEN_TIME);
    let module = registry
        .choose(&input.head(), &input.subject, scope.deadline())
        .ok_or_else(|| anyhow::anyhow!("no module reads this kind of file"))?;
    let call = scope.call(&module.info.id, b"");
    Ok(module
        .decoder
        .open(input.source.clone(), &call.context(Limits::default()))?)
}
