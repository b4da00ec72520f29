//! The command line: flags from the table of settings, diagnostics, tools.

mod check_module;
mod diagnostics;
mod get;
mod input;
mod new_module;
mod notify;
mod operate;
mod serve;
mod tools;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, PathBufValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command};

use crate::config::{Config, Problem, SETTINGS, Severity, Values};
use crate::decoder::{CHECK_ARGUMENT, LOADED_STATUS, REFUSED_STATUS, check_in_child};

/// Exit status of a command line that cannot be understood.
const USAGE: u8 = 2;

/// The configuration file as a flag and as a variable.
const CONFIG: &str = "config";
const CONFIG_VARIABLE: &str = "IIPHOST_CONFIG";

/// The group of `--help` that lists the settings.
const SETTINGS_HEADING: &str = "Settings (each also an environment variable)";

/// Runs the program: the only thing `main` does.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Asked by the host itself, so it stands before everything else.
    if let [_, first, rest @ ..] = arguments.as_slice()
        && first == CHECK_ARGUMENT
    {
        return match check_in_child(rest) {
            Ok(()) => ExitCode::from(LOADED_STATUS),
            // The one who asked adds its own name.
            Err(reason) => {
                eprintln!("{reason}");
                ExitCode::from(REFUSED_STATUS)
            }
        };
    }
    if let [_, first, rest @ ..] = arguments.as_slice()
        && first == check_module::RUN_ARGUMENT
    {
        return check_module::run_one(rest);
    }
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            let wrong = error.use_stderr();
            // Help that cannot be printed has nowhere else to go.
            let _ = error.print();
            return if wrong {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let outcome = match matches.subcommand() {
        Some(("pyramid", matches)) => tools::pyramid(matches, &values(matches)),
        Some(("demo", matches)) => tools::demo(matches),
        Some(("get", matches)) => get::run(matches, &values(matches)),
        Some(("status", matches)) => operate::status(matches, &values(matches)),
        Some(("purge", matches)) => operate::purge(matches, &values(matches)),
        Some(("check-module", matches)) => check_module::run(matches),
        Some(("new-module", matches)) => new_module::run(matches),
        _ => run_without_subcommand(&matches),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => failed(&format!("{error:#}")),
    }
}

fn failed(reason: &str) -> ExitCode {
    eprintln!("iiphost: {reason}");
    ExitCode::FAILURE
}

fn run_without_subcommand(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let values = values(matches);
    if matches.get_flag("check-config") {
        return Ok(diagnostics::check_config(matches, &values));
    }
    if matches.get_flag("list-modules") {
        return diagnostics::list_modules(&config(&values)?, matches.get_flag("json"));
    }
    if let Some(file) = matches.get_one::<PathBuf>("probe") {
        return diagnostics::probe(&config(&values)?, file);
    }
    serve::run(matches, &values)
}

/// The values of flags, environment and configuration file.
fn values(matches: &ArgMatches) -> Values {
    let mut values = Values::from_environment();
    // Tools take no settings of the server but those they declare, and need no file.
    if let Ok(flag) = matches.try_get_one::<PathBuf>(CONFIG) {
        let variable = || std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty());
        if let Some(path) = flag.cloned().or_else(|| variable().map(PathBuf::from)) {
            values.read_file(&path);
        }
    }
    for setting in SETTINGS {
        // Subcommands take no settings of the server but those they declare.
        if let Ok(Some(value)) = matches.try_get_one::<OsString>(setting.name) {
            values.set_flag(setting.name, value);
        }
    }
    values
}

/// The configuration, warnings printed.
///
/// # Errors
/// All mistakes that stop the start.
fn config(values: &Values) -> anyhow::Result<Config> {
    config_and(values, [])
}

/// The same, told together with mistakes found elsewhere.
fn config_and(values: &Values, mistakes: impl IntoIterator<Item = String>) -> anyhow::Result<Config> {
    let (config, problems) = Config::from_values(values);
    for problem in problems.iter().filter(|p| p.severity == Severity::Warning) {
        eprintln!("iiphost: warning: {problem}");
    }
    refuse(
        problems
            .iter()
            .filter(|p| p.severity == Severity::Error)
            .map(Problem::to_string)
            .chain(mistakes),
    )?;
    Ok(config)
}

/// Stops with all of the mistakes, if there are any.
fn refuse(mistakes: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
    let mistakes: Vec<String> = mistakes.into_iter().collect();
    anyhow::ensure!(mistakes.is_empty(), "{}", mistakes.join("\niiphost: "));
    Ok(())
}

fn command() -> Command {
    let mut command = Command::new("iiphost")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Image server for streamed viewing of very large images, and host for decoder modules")
        .after_help(
            "Without --bind and --http, sockets are taken from systemd (LISTEN_FDS), or one is expected as\n\
             file descriptor 0 (spawn-fcgi, or a web server that starts this program).",
        )
        .args_conflicts_with_subcommands(true)
        .arg(
            Arg::new("DIR")
                .help("Folder images are served from, where FILESYSTEM_PREFIX is not set")
                .value_parser(PathBufValueParser::new()),
        )
        .arg(
            Arg::new("bind")
                .long("bind")
                .value_name("ADDR")
                .action(ArgAction::Append)
                .help("Serve FastCGI on host:port, [ip6]:port or the path of a UNIX socket"),
        )
        .arg(
            Arg::new("http")
                .long("http")
                .value_name("ADDR")
                .action(ArgAction::Append)
                .help("Serve HTTP on host:port, [ip6]:port or the path of a UNIX socket"),
        )
        .arg(config_argument())
        .arg(flag(
            "check-config",
            "Check flags, environment, configuration file and modules, then stop",
        ))
        .arg(flag("list-modules", "List the decoder modules, then stop"))
        .arg(flag("json", "With --list-modules: as JSON").requires("list-modules"))
        .arg(
            Arg::new("probe")
                .long("probe")
                .value_name("FILE")
                .value_parser(PathBufValueParser::new())
                .help("Show what every module says about a file, then stop"),
        )
        .subcommand(
            crate::pyramid::Args::augment_args(Command::new("pyramid"))
                .about("Make a tiled pyramid TIFF of an image"),
        )
        .subcommand(
            crate::demo::Args::augment_args(Command::new("demo")).about("Make sample images in a folder"),
        )
        .subcommand(get::command())
        .subcommand(operate::status_command())
        .subcommand(operate::purge_command())
        .subcommand(check_module::command())
        .subcommand(new_module::command());
    for setting in SETTINGS {
        command = command.arg(setting_argument(setting));
    }
    command
}

/// The configuration file, for everything that needs the settings of the server.
fn config_argument() -> Arg {
    Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_parser(PathBufValueParser::new())
        .help("Read settings from a TOML file [IIPHOST_CONFIG]; flags and variables win over it")
}

fn setting_argument(setting: &'static crate::config::Setting) -> Arg {
    let default = if setting.default.is_empty() {
        String::new()
    } else {
        format!(", default {}", setting.default)
    };
    Arg::new(setting.name)
        .long(setting.flag())
        .value_name("VALUE")
        .value_parser(OsStringValueParser::new())
        .allow_hyphen_values(true)
        .help_heading(SETTINGS_HEADING)
        .help(format!(
            "{} [{}; {}{default}]",
            setting.help,
            setting.name,
            setting.range()
        ))
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }

    #[test]
    fn a_folder_named_like_a_tool_is_served_behind_two_dashes() {
        // As `make run` does with its folder `demo`.
        let arguments = ["iiphost", "--http", "127.0.0.1:0", "--", "demo"];
        let matches = super::command().try_get_matches_from(arguments).unwrap();
        assert_eq!(matches.subcommand_name(), None);
        assert_eq!(matches.get_one::<PathBuf>("DIR"), Some(&PathBuf::from("demo")));
    }
}
