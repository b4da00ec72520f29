//! `iiphost check-module`: the conformance kit on a library, every check in a process of its own.
//!
//! A check that crashes or hangs is thereby a result like any other: the last step the child told about
//! names the input.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, ExitCode, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use iiphost_plugin_api::conformance::{Check, DEFAULT_CHECK_TIME, DEFAULT_SEED, Kit, Outcome};
use iiphost_plugin_api::{ClaimLevel, FileHead, host};

use crate::decoder::try_in_child;

/// The hidden first argument of a process that runs one check.
pub(super) const RUN_ARGUMENT: &str = "--run-module-check";

/// What the child puts before its result and before each step; a module may print, too.
const RESULT_MARK: &str = "iiphost-check-result ";
const STEP_MARK: &str = "iiphost-check-step ";

/// Files of the sample folder that are read at most, and their size.
const MAX_FILES: usize = 100;
const MAX_FILE_BYTES: u64 = 256 << 20;

/// How much longer than the check its process may take: it reads the samples and loads the library.
const START_TIME: Duration = Duration::from_secs(30);

/// What is kept of the end of a child's output.
const TAIL_BYTES: usize = 64 << 10;

/// The subcommand.
pub(super) fn command() -> Command {
    Command::new("check-module")
        .about("Check whether a decoder module keeps its contract, each check in a process of its own")
        .arg(
            Arg::new("PATH")
                .required(true)
                .value_parser(PathBufValueParser::new())
                .help("The module's library"),
        )
        .arg(
            Arg::new("files")
                .long("files")
                .value_name("DIR")
                .value_parser(PathBufValueParser::new())
                .help("Folder of valid files of its formats; without it only what needs no file is checked"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print the results as JSON"),
        )
        .arg(
            Arg::new("seed")
                .long("seed")
                .value_name("NUMBER")
                .value_parser(parse_seed)
                .help("Seed of everything random, as an earlier run has printed it"),
        )
        .arg(
            Arg::new("time")
                .long("time")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64).range(1..=3600))
                .help(format!(
                    "Time after which a check counts as hanging [default {}]",
                    DEFAULT_CHECK_TIME.as_secs()
                )),
        )
}

fn parse_seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|e| e.to_string())
}

/// One line of the report.
struct Line {
    id: &'static str,
    summary: &'static str,
    outcome: Outcome,
    time: Duration,
}

/// Checks a module. Fails if one of the checks does.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let path = matches.get_one::<PathBuf>("PATH").context("no path")?;
    let job = Job {
        path: path.clone(),
        files: matches.get_one::<PathBuf>("files").cloned(),
        seed: matches.get_one::<u64>("seed").copied().unwrap_or(DEFAULT_SEED),
        time: matches
            .get_one::<u64>("time")
            .map_or(DEFAULT_CHECK_TIME, |&seconds| Duration::from_secs(seconds)),
    };
    let json = matches.get_flag("json");
    let (mut lines, module) = load(path);
    if !json {
        match &module {
            Some(module) => println!(
                "{} {}  {}  (ABI {}.{}, iiphost-plugin-api {})",
                module.info.id,
                module.info.version,
                path.display(),
                module.abi_version.0,
                module.abi_version.1,
                module.api_version
            ),
            None => println!("{}", path.display()),
        }
        println!("seed {:#x}", job.seed);
        lines.iter().for_each(print_line);
    }
    if module.is_some() {
        if let Some(folder) = &job.files {
            sample_paths(folder)?;
        }
        for check in Check::all() {
            let start = Instant::now();
            let outcome = job.run_in_child(check);
            let line = Line {
                id: check.id(),
                summary: check.summary(),
                outcome,
                time: start.elapsed(),
            };
            if !json {
                print_line(&line);
            }
            lines.push(line);
        }
    }
    let count = |name| lines.iter().filter(|l| l.outcome.name() == name).count();
    let failed = count("fail");
    if json {
        let checks: Vec<_> = lines.iter().map(line_json).collect();
        let module = module.map(|module| {
            serde_json::json!({
                "id": module.info.id,
                "version": module.info.version,
                "abi": format!("{}.{}", module.abi_version.0, module.abi_version.1),
                "api_version": module.api_version,
                "threading": module.info.threading.name(),
            })
        });
        let report = serde_json::json!({
            "path": path,
            "module": module,
            "seed": format!("{:#x}", job.seed),
            "passed": failed == 0,
            "checks": checks,
        });
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!(
            "{} passed, {failed} failed, {} skipped",
            count("pass"),
            count("skipped")
        );
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The first line: does it load at all, and how fast. In a child first, which may crash.
fn load(path: &Path) -> (Vec<Line>, Option<host::LoadedModule>) {
    let tried = try_in_child(path);
    let start = Instant::now();
    let loaded = tried.and_then(|()| host::load(path).map_err(|e| e.to_string()));
    let time = start.elapsed();
    let (outcome, module) = match loaded {
        Ok(module) => (Outcome::Pass, Some(module)),
        Err(reason) => (Outcome::Fail(reason), None),
    };
    let line = Line {
        id: "load",
        summary: "the library loads and the module describes itself",
        outcome,
        time,
    };
    (vec![line], module)
}

fn print_line(line: &Line) {
    print!(
        "{:<24} {:<8} {:>8.1} ms",
        line.id,
        line.outcome.name(),
        line.time.as_secs_f64() * 1e3
    );
    match line.outcome.reason() {
        Some(reason) => println!("  {}", reason.escape_debug()),
        None => println!(),
    }
}

fn line_json(line: &Line) -> serde_json::Value {
    serde_json::json!({
        "id": line.id,
        "summary": line.summary,
        "outcome": line.outcome.name(),
        "reason": line.outcome.reason(),
        "millis": line.time.as_secs_f64() * 1e3,
    })
}

/// What every check is about.
struct Job {
    path: PathBuf,
    files: Option<PathBuf>,
    seed: u64,
    time: Duration,
}

impl Job {
    fn run_in_child(&self, check: &Check) -> Outcome {
        match self.spawn(check) {
            Ok(child) => self.wait(child),
            Err(error) => Outcome::Fail(format!("no process to run it in: {error}")),
        }
    }

    fn spawn(&self, check: &Check) -> std::io::Result<Child> {
        let mut process = Process::new(std::env::current_exe()?);
        process
            .arg(RUN_ARGUMENT)
            .arg(check.id())
            .arg(self.seed.to_string())
            .arg(self.time.as_millis().to_string())
            .arg(&self.path)
            .args(&self.files)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    fn wait(&self, mut child: Child) -> Outcome {
        let out = child.stdout.take().map(tail);
        let err = child.stderr.take().map(tail);
        let start = Instant::now();
        let limit = self.time + START_TIME;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) | Err(_) => {
                    // A child that ended just now cannot be killed; either way it is gone.
                    let _ = child.kill();
                    let _ = child.wait();
                    break None;
                }
            }
        };
        let (out, err) = (text(out), text(err));
        let step = || match last(&err, STEP_MARK) {
            Some(step) if !step.is_empty() => format!("{step}: "),
            _ => String::new(),
        };
        match status {
            None => Outcome::Fail(format!("{}no end after {} seconds", step(), limit.as_secs())),
            Some(status) => match (status.signal(), last(&out, RESULT_MARK).map(from_json)) {
                (Some(signal), _) => Outcome::Fail(format!("{}crashed with signal {signal}", step())),
                (None, Some(Some(outcome))) => outcome,
                (None, _) => Outcome::Fail(format!("{}ended its process ({status})", step())),
            },
        }
    }
}

/// The end of a child's output. Read to the end, so that the child never waits.
fn tail(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut chunk = [0; 8192];
        // A pipe that breaks has nothing more to tell.
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            kept.extend_from_slice(chunk.get(..count).unwrap_or_default());
            if kept.len() > 2 * TAIL_BYTES {
                kept.drain(..kept.len() - TAIL_BYTES);
            }
        }
        kept
    })
}

fn text(tail: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = tail.and_then(|tail| tail.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The rest of the last line with a mark.
fn last<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.lines().rev().find_map(|line| line.strip_prefix(mark))
}

fn to_json(outcome: &Outcome) -> serde_json::Value {
    serde_json::json!({ "outcome": outcome.name(), "reason": outcome.reason() })
}

fn from_json(text: &str) -> Option<Outcome> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let reason = || value.get("reason")?.as_str().map(str::to_owned);
    match value.get("outcome")?.as_str()? {
        "pass" => Some(Outcome::Pass),
        "fail" => Some(Outcome::Fail(reason()?)),
        "skipped" => Some(Outcome::Skipped(reason()?)),
        _ => None,
    }
}

/// What the child process does: one check, named by its arguments.
pub(super) fn run_one(arguments: &[OsString]) -> ExitCode {
    let outcome = match arguments {
        [id, seed, millis, path, files @ ..] => {
            let number = |text: &OsStr| text.to_str().and_then(|text| text.parse::<u64>().ok());
            let check = id.to_str().and_then(Check::find);
            match (check, number(seed), number(millis)) {
                (Some(check), Some(seed), Some(millis)) => {
                    let kit = kit(Path::new(path), files.first().map(Path::new));
                    kit.map(|kit| {
                        kit.with_seed(seed)
                            .with_check_time(Duration::from_millis(millis))
                            .run(check)
                    })
                }
                _ => Err("arguments that mean nothing".to_owned()),
            }
        }
        _ => Err("arguments that mean nothing".to_owned()),
    };
    let outcome = outcome.unwrap_or_else(Outcome::Fail);
    println!("\n{RESULT_MARK}{}", to_json(&outcome));
    ExitCode::SUCCESS
}

/// The kit for a library with the files it claims.
fn kit(path: &Path, files: Option<&Path>) -> Result<Kit, String> {
    let module = host::load(path).map_err(|e| e.to_string())?;
    let library = path.to_owned();
    let mut kit = Kit::new(move || {
        host::load(&library)
            .map(|module| module.decoder)
            .map_err(|e| e.to_string())
    })
    .with_progress(|step| eprintln!("{STEP_MARK}{}", step.escape_debug()));
    let paths = match files {
        Some(folder) => sample_paths(folder).map_err(|e| format!("{e:#}"))?,
        None => Vec::new(),
    };
    let mut claimed = 0;
    for path in &paths {
        eprintln!(
            "{STEP_MARK}probe of {}",
            path.display().to_string().escape_debug()
        );
        let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        let extension = path
            .extension()
            .map(|e| e.to_string_lossy().to_lowercase())
            .unwrap_or_default();
        let claim = module.decoder.probe(&FileHead {
            bytes: bytes.get(..FileHead::MAX_LEN).unwrap_or(&bytes),
            file_len: bytes.len() as u64,
            extension: &extension,
        });
        if claim.level != ClaimLevel::None {
            claimed += 1;
            kit = kit.with_sample(name, bytes);
        }
    }
    if files.is_some() && claimed == 0 {
        return Err(format!("the module claims none of the {} files", paths.len()));
    }
    Ok(kit)
}

/// The files of a folder, in the order of their names.
fn sample_paths(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let metadata = path
            .metadata()
            .with_context(|| format!("cannot read {}", path.display()))?;
        if metadata.is_file() && metadata.len() <= MAX_FILE_BYTES {
            paths.push(path);
        }
    }
    paths.sort();
    paths.truncate(MAX_FILES);
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_cross_the_pipe() {
        for outcome in [
            Outcome::Pass,
            Outcome::Fail("two\nlines".into()),
            Outcome::Skipped("no \"files\"".into()),
        ] {
            assert_eq!(from_json(&to_json(&outcome).to_string()), Some(outcome));
        }
        assert_eq!(from_json("{}"), None);
        assert_eq!(from_json("half a li"), None);
    }

    #[test]
    fn only_the_end_of_a_long_output_is_kept() {
        let mut long = vec![b'x'; 10 * TAIL_BYTES];
        long.extend_from_slice(b"\niiphost-check-step the end\n");
        let kept = text(Some(tail(std::io::Cursor::new(long))));
        assert!(kept.len() <= 2 * TAIL_BYTES);
        assert_eq!(last(&kept, STEP_MARK), Some("the end"));
    }

    #[test]
    fn seeds_are_read_as_they_are_printed() {
        assert_eq!(parse_seed("0x7b"), Ok(123));
        assert_eq!(parse_seed("123"), Ok(123));
        assert!(parse_seed("x").is_err());
    }
}
