//! `--check-config`, `--list-modules`, `--probe`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use iiphost_plugin_api::capability;

use super::input::Input;
use super::serve::{self, Addresses, Modules};
use crate::config::{Config, Values};
use crate::decoder::{LoadFailure, Module};

/// How long the modules may take to look at a file.
const PROBE_TIME: Duration = Duration::from_secs(10);

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

/// Lists the modules; fails if one of them does.
pub(super) fn list_modules(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let Modules { registry, failures } = serve::load(config)?;
    if json {
        let modules: Vec<_> = registry
            .modules()
            .iter()
            .map(|module| module_json(module))
            .chain(failures.iter().map(failure_json))
            .collect();
        println!(
            "{}",
            serde_json::to_string_pretty(&serde_json::json!({ "modules": modules }))?
        );
    } else {
        registry.modules().iter().for_each(|module| print_module(module));
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

fn module_json(module: &Module) -> serde_json::Value {
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
    serde_json::json!({
        "id": info.id,
        "name": info.name,
        "version": info.version,
        "license": info.license,
        "abi": format!("{}.{}", module.abi.0, module.abi.1),
        "path": module.path,
        "origin": module.origin.name(),
        "formats": formats,
        "capabilities": capabilities(module),
        "options": options,
        "threading": info.threading.name(),
        "state": "ready",
        "load_micros": module.load_time.as_micros() as u64,
        "error": null,
    })
}

fn failure_json(failure: &LoadFailure) -> serde_json::Value {
    serde_json::json!({
        "id": null,
        "name": failure.spec.name,
        "path": failure.path,
        "origin": failure.spec.origin.name(),
        "state": "failed",
        "error": failure.reason,
    })
}

fn capabilities(module: &Module) -> Vec<String> {
    let name = |&id: &u32| capability::name(id).map_or_else(|| format!("unknown ({id})"), str::to_owned);
    module.info.capabilities.iter().map(name).collect()
}

fn print_module(module: &Module) {
    let info = &module.info;
    println!("{}  {}", info.id, info.version);
    println!("  name          {}", info.name);
    println!("  license       {}", info.license);
    println!("  abi           {}.{}", module.abi.0, module.abi.1);
    println!("  path          {}", module.path.display());
    println!("  origin        {}", module.origin.name());
    for format in &info.formats {
        println!(
            "  format        {} ({}; {})",
            format.name,
            format.media_type,
            format.extensions.join(", ")
        );
    }
    println!("  capabilities  {}", capabilities(module).join(", "));
    for option in &info.options {
        println!(
            "  option        {} ({}, default {:?}): {}",
            option.name,
            option.kind.name(),
            option.default,
            option.description
        );
    }
    println!("  threading     {}", info.threading.name());
    println!(
        "  state         ready, loaded in {:.1} ms",
        module.load_time.as_secs_f64() * 1e3
    );
}

/// Shows every module's claim on a file, with its reason and time.
pub(super) fn probe(config: &Config, path: &Path) -> anyhow::Result<ExitCode> {
    let Modules { registry, failures } = serve::load(config)?;
    for failure in &failures {
        eprintln!("iiphost: {failure}");
    }
    let input = Input::open(path)?;
    let (head, deadline) = (input.head(), Instant::now() + PROBE_TIME);
    for answer in registry.probe(&head, &input.subject, deadline) {
        println!(
            "{:<12} {:<9} {:>7.1} µs  {}",
            answer.module,
            answer.claim.level.name(),
            answer.time.as_secs_f64() * 1e6,
            answer.claim.reason
        );
    }
    match registry.choose(&head, &input.subject, deadline) {
        Some(module) => println!("{} opens it", module.info.id),
        None => println!("no module opens it"),
    }
    let whole = failures.is_empty() && registry.choose(&head, &input.subject, deadline).is_some();
    Ok(if whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
