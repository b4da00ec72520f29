//! `--check-config`, `--list-modules`, `--probe`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use iiphost_plugin_api::{Region, capability};
use sha2::{Digest, Sha256};

use super::input::Input;
use super::serve::{self, Addresses, Modules};
use crate::config::{Config, Values};
use crate::decoder::{CallScope, LoadFailure, Module, OpenImage, ProbeResult, RegionReader, Registry};
use crate::limits::Limits;

/// How long the modules may take to look at a file, and to open it.
const PROBE_TIME: Duration = Duration::from_secs(10);

/// Side of the corner that is read to try a file.
const CORNER_PX: u32 = 256;

/// Checks everything that can be checked without listening. Fails on warnings too.
pub(super) fn check_config(matches: &ArgMatches, values: &Values) -> ExitCode {
    let (config, problems) = Config::from_values(values);
    let mut mistakes: Vec<String> = problems.iter().map(ToString::to_string).collect();
    mistakes.extend(Addresses::read(matches, values).mistakes);
    match serve::load(&config) {
        Ok(Modules { registry, failures }) => {
            mistakes.extend(failures.iter().map(LoadFailure::to_string));
            if mistakes.is_empty() {
                mistakes.extend(
                    serve::handler(config, registry, None, true)
                        .err()
                        .map(|e| format!("{e:#}")),
                );
            }
        }
        Err(error) => mistakes.push(format!("{error:#}")),
    }
    for mistake in &mistakes {
        eprintln!("iiphost: {mistake}");
    }
    if mistakes.is_empty() {
        println!("the configuration is good");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// SHA-256 of a library in hexadecimal digits, to compare what runs here with what was delivered.
fn digest(path: &Path) -> std::io::Result<String> {
    let hash = Sha256::digest(std::fs::read(path)?);
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Lists the modules; fails if one of them does.
pub(super) fn list_modules(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let Modules { registry, failures } = serve::load(config)?;
    if json {
        let modules: Vec<_> = registry
            .modules()
            .iter()
            .map(|module| module_json(module, &registry))
            .chain(failures.iter().map(failure_json))
            .collect();
        println!(
            "{}",
            serde_json::to_string_pretty(&serde_json::json!({ "modules": modules }))?
        );
    } else {
        registry
            .modules()
            .iter()
            .for_each(|module| print_module(module, &registry));
        for failure in &failures {
            println!("{}  FAILED", failure.spec.name);
            println!("  origin        {}", failure.spec.origin.name());
            println!("  reason        {}", failure.reason);
        }
    }
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn module_json(module: &Module, registry: &Registry) -> serde_json::Value {
    let info = &module.info;
    let formats: Vec<_> = info
        .formats
        .iter()
        .map(
            |f| serde_json::json!({ "name": f.name, "media_type": f.media_type, "extensions": f.extensions }),
        )
        .collect();
    let options: Vec<_> = info
        .options
        .iter()
        .map(|o| {
            serde_json::json!({
                "name": o.name, "kind": o.kind.name(), "default": o.default, "description": o.description,
            })
        })
        .collect();
    let known = registry.faults().of_module(&info.id);
    serde_json::json!({
        "id": info.id,
        "name": info.name,
        "version": info.version,
        "license": info.license,
        "abi": format!("{}.{}", module.abi.0, module.abi.1),
        "path": module.path,
        "digest": digest(&module.path).ok(),
        "origin": module.origin.name(),
        "formats": formats,
        "capabilities": capabilities(module),
        "options": options,
        "threading": info.threading.name(),
        "claims": rules(module, registry),
        "state": "ready",
        "faults": known.counts.total(),
        "last_fault": known.last.map(|last| format!("{}: {}", last.kind.name(), last.message)),
        "load_micros": module.load_time.as_micros() as u64,
        "error": null,
    })
}

fn failure_json(failure: &LoadFailure) -> serde_json::Value {
    serde_json::json!({
        "id": null,
        "name": failure.spec.name,
        "path": failure.path,
        "digest": failure.path.as_deref().and_then(|path| digest(path).ok()),
        "origin": failure.spec.origin.name(),
        "state": "failed",
        "error": failure.reason,
    })
}

fn capabilities(module: &Module) -> Vec<String> {
    let name = |&id: &u32| capability::name(id).map_or_else(|| format!("unknown ({id})"), str::to_owned);
    module.info.capabilities.iter().map(name).collect()
}

/// What the operator has decided about the module's claims.
fn rules(module: &Module, registry: &Registry) -> Vec<String> {
    let own = registry
        .rules()
        .iter()
        .filter(|rule| rule.module() == module.info.id);
    own.map(ToString::to_string).collect()
}

/// Text of a module: control characters do not reach the terminal.
fn shown(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn print_module(module: &Module, registry: &Registry) {
    let info = &module.info;
    let line = |name: &str, value: &str| println!("  {name:<13} {}", shown(value));
    println!("{}  {}", info.id, info.version);
    line("name", &info.name);
    line("license", &info.license);
    line("abi", &format!("{}.{}", module.abi.0, module.abi.1));
    line("path", &module.path.display().to_string());
    match digest(&module.path) {
        Ok(digest) => line("sha-256", &digest),
        Err(error) => line("sha-256", &format!("cannot be read: {error}")),
    }
    line("origin", module.origin.name());
    for format in &info.formats {
        let extensions = format.extensions.join(", ");
        line(
            "format",
            &format!("{} ({}; {extensions})", format.name, format.media_type),
        );
    }
    line("capabilities", &capabilities(module).join(", "));
    for option in &info.options {
        let (name, kind) = (&option.name, option.kind.name());
        line(
            "option",
            &format!(
                "{name} ({kind}, default {:?}): {}",
                option.default, option.description
            ),
        );
    }
    for rule in rules(module, registry) {
        line("claims", &rule);
    }
    line("threading", info.threading.name());
    let load_ms = module.load_time.as_secs_f64() * 1e3;
    line("state", &format!("ready, loaded in {load_ms:.1} ms"));
    match registry.faults().of_module(&info.id).last {
        Some(last) => line("last fault", &format!("{}: {}", last.kind.name(), last.message)),
        None => line("last fault", "none"),
    }
}

/// Shows every module's claim on a file, with its reason and time, then whether one of them opens it and gives
/// pixels.
pub(super) fn probe(config: &Config, path: &Path) -> anyhow::Result<ExitCode> {
    let Modules { registry, failures } = serve::load(config)?;
    for failure in &failures {
        eprintln!("iiphost: {failure}");
    }
    let input = Arc::new(Input::open(path)?);
    let registry = Arc::new(registry);
    let mut answers = Vec::new();
    let mut silent = false;
    for module in registry.modules() {
        match ask(&registry, module, &input) {
            Some(answer) => {
                println!(
                    "{:<12} {:<9} {:>7.1} µs  {}",
                    answer.module,
                    answer.claim.level.name(),
                    answer.time.as_secs_f64() * 1e6,
                    shown(&answer.claim.reason)
                );
                answers.push(answer);
            }
            None => {
                silent = true;
                println!(
                    "{:<12} no answer within {} s",
                    module.info.id,
                    PROBE_TIME.as_secs()
                );
            }
        }
    }
    let verdict = match Registry::best(&answers) {
        Some(_) => try_it(&registry, config.limits.clone(), path)?,
        None => Err("no module opens it".to_owned()),
    };
    let is_good = verdict.is_ok();
    println!("{}", shown(&verdict.unwrap_or_else(|trouble| trouble)));
    Ok(if failures.is_empty() && !silent && is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Opens a file as the host does and reads a corner of its smallest level: who opened it, or what is wrong.
fn try_it(registry: &Arc<Registry>, limits: Limits, path: &Path) -> anyhow::Result<Result<String, String>> {
    let (registry, file, path) = (registry.clone(), Input::open_file(path)?, path.to_owned());
    let verdict = in_time(move || {
        let scope = CallScope::with_time(PROBE_TIME);
        let name = path.as_os_str().as_encoded_bytes().to_vec();
        OpenImage::open(&registry, &name, path, file, &limits, &scope)
            .map_err(|error| format!("no module opens it: {error}"))
            .and_then(|image| read_corner(&image, &limits, &scope))
    });
    let silent = || Err(format!("not opened within {} s", PROBE_TIME.as_secs()));
    Ok(verdict.unwrap_or_else(silent))
}

fn read_corner(image: &OpenImage, limits: &Limits, scope: &CallScope) -> Result<String, String> {
    let module = &image.module.info.id;
    let Some(level) = image.info.page(0).levels.last() else {
        return Err(format!("{module} opens it and finds no level"));
    };
    let (width, height) = (level.size.width.min(CORNER_PX), level.size.height.min(CORNER_PX));
    match RegionReader::new(image, limits, scope).read(0, level, Region::new(0, 0, width, height), 0) {
        Ok(_) => Ok(format!("{module} opens it")),
        Err(error) => Err(format!("{module} opens it and gives no pixels: {error}")),
    }
}

/// A module's answer about a file, `None` if it gives none.
fn ask(registry: &Arc<Registry>, module: &Arc<Module>, input: &Arc<Input>) -> Option<ProbeResult> {
    let (registry, module, input) = (registry.clone(), module.clone(), input.clone());
    in_time(move || {
        let deadline = Instant::now() + PROBE_TIME;
        registry.probe(&module, &input.head(), &input.subject, deadline)
    })
}

/// What comes of calls of modules, `None` if nothing does in time: then their thread is left to itself, and ends with
/// the process.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, answer) = channel();
    std::thread::spawn(move || {
        // Nobody listens any more if this fails.
        let _ = sender.send(work());
    });
    answer.recv_timeout(PROBE_TIME).ok()
}
