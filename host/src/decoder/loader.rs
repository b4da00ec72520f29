//! Finding module libraries, trying each in a process of its own, loading them.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use iiphost_plugin_api::{ErrorKind, host};
use rustix::stdio::dup2_stdout;

use super::calls::Usage;
use super::claims::{self, ClaimRule};
use super::options::{self, Setting};
use super::registry::Module;

/// The modules every installation has, in the order they are asked last.
const BUILT_IN: &[&str] = &["tiff", "jpeg2000", "jpeg"];

/// What is read of the output of a process that tries a library. One that prints more is not waited for.
const MAX_COMPLAINT_BYTES: u64 = 16 << 20;

/// How long a library may take to load.
const LOAD_TIME: Duration = Duration::from_secs(10);

/// Where a module came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It comes with the host.
    BuiltIn,
    /// The operator listed it; its failure stops the start.
    Listed,
    /// The operator listed it with `optional:`; its failure is a warning.
    Optional,
}

impl Origin {
    /// The name shown by `--list-modules`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::Listed => "listed",
            Self::Optional => "optional",
        }
    }
}

/// A module to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleSpec {
    /// What was written: a path or a bare name.
    pub name: String,
    /// Who asked for it.
    pub origin: Origin,
}

impl ModuleSpec {
    /// The same module as if the host could not do without it.
    fn listed(mut self) -> Self {
        if self.origin == Origin::Optional {
            self.origin = Origin::Listed;
        }
        self
    }
}

/// `DECODER_MODULES`: which modules to load, in the order that decides ties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleList {
    /// Listed modules first, then the built-in ones not named.
    pub modules: Vec<ModuleSpec>,
}

impl ModuleList {
    /// Reads the list: names or paths separated by commas; `optional:NAME` may fail, `-NAME` leaves a
    /// built-in module out, naming a built-in sets its place.
    ///
    /// # Errors
    /// A sentence for each entry that means nothing.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut modules: Vec<ModuleSpec> = Vec::new();
        let mut left_out = Vec::new();
        let mut problems = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            if let Some(name) = entry.strip_prefix('-') {
                if BUILT_IN.contains(&name) {
                    left_out.push(name);
                } else {
                    problems.push(format!(
                        "{name:?} is no built-in module to leave out; there are: {}",
                        BUILT_IN.join(", ")
                    ));
                }
                continue;
            }
            let (name, optional) = match entry.strip_prefix("optional:") {
                Some(name) => (name.trim(), true),
                None => (entry, false),
            };
            let origin = if optional {
                Origin::Optional
            } else if BUILT_IN.contains(&name) {
                Origin::BuiltIn
            } else {
                Origin::Listed
            };
            if modules.iter().any(|m| m.name == name) {
                problems.push(format!("{name:?} is listed twice"));
            } else {
                modules.push(ModuleSpec {
                    name: name.to_owned(),
                    origin,
                });
            }
        }
        for name in BUILT_IN {
            let named = modules.iter().any(|m| m.name == *name);
            if !named && !left_out.contains(name) {
                modules.push(ModuleSpec {
                    name: (*name).to_owned(),
                    origin: Origin::BuiltIn,
                });
            }
        }
        if problems.is_empty() {
            Ok(Self { modules })
        } else {
            Err(problems)
        }
    }
}

/// A module that could not be loaded.
#[derive(Clone, Debug)]
pub struct LoadFailure {
    /// What was asked for.
    pub spec: ModuleSpec,
    /// Where it was looked for, if it was found there.
    pub path: Option<PathBuf>,
    /// One sentence: what is wrong, what is accepted, what to do.
    pub reason: String,
}

impl std::fmt::Display for LoadFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "module {}: {}", self.spec.name, self.reason)
    }
}

/// Whether a module of this id comes with the host.
#[must_use]
pub fn is_built_in(id: &str) -> bool {
    BUILT_IN.contains(&id)
}

/// Loads modules in order. Each library is first loaded in a child process, so that one that crashes or
/// hangs while it loads is reported, not suffered. A setting or a rule of a module that is not there is a
/// failure, too.
#[must_use]
pub fn load_modules(
    list: &ModuleList,
    settings: &[Setting],
    rules: &[ClaimRule],
) -> (Vec<Module>, Vec<LoadFailure>) {
    let mut failures = Vec::new();
    let mut children = Vec::new();
    for spec in &list.modules {
        match locate(&spec.name) {
            Ok(path) => {
                let child = start_check(&path, settings);
                children.push((spec, path, child));
            }
            Err(reason) => failures.push(LoadFailure {
                spec: spec.clone(),
                path: None,
                reason,
            }),
        }
    }
    let mut modules: Vec<Module> = Vec::new();
    for (spec, path, child) in children {
        let loaded = child
            .and_then(|child| finish_check(child, &path))
            .map_err(Refused::Module)
            .and_then(|()| load_one(spec, &path, settings))
            .and_then(
                |module| match modules.iter().find(|m| m.info.id == module.info.id) {
                    Some(first) => Err(Refused::Module(format!(
                        "{} has the id {:?} of {}; two modules of one id cannot be told apart, leave one out",
                        path.display(),
                        module.info.id,
                        first.path.display()
                    ))),
                    None => Ok(module),
                },
            );
        match loaded {
            Ok(module) => modules.push(module),
            Err(refused) => {
                let (spec, reason) = match refused {
                    Refused::Module(reason) => (spec.clone(), reason),
                    // `optional:` forgives a module, not a mistake in the configuration.
                    Refused::Settings(reason) => (spec.clone().listed(), reason),
                };
                failures.push(LoadFailure {
                    spec,
                    path: Some(path),
                    reason,
                });
            }
        }
    }
    // The settings may be those of a module that failed, whose id nobody knows.
    if failures.is_empty() {
        let ids: Vec<&str> = modules.iter().map(|m| m.info.id.as_str()).collect();
        let unknown = options::for_nobody(&ids, settings);
        for (name, reason) in unknown.into_iter().chain(claims::for_nobody(&ids, rules)) {
            failures.push(LoadFailure {
                spec: ModuleSpec {
                    name,
                    origin: Origin::Listed,
                },
                path: None,
                reason,
            });
        }
    }
    (modules, failures)
}

/// Whose mistake it is that a module is not loaded.
enum Refused {
    /// The library's.
    Module(String),
    /// The operator's, in `DECODER_OPTIONS`.
    Settings(String),
}

fn load_one(spec: &ModuleSpec, path: &Path, settings: &[Setting]) -> Result<Module, Refused> {
    let start = Instant::now();
    let _quiet = QuietStdout::new();
    let loaded = host::load(path).map_err(|e| Refused::Module(e.to_string()))?;
    let mut decoder = loaded.decoder;
    let options = options::for_module(&loaded.info, settings).map_err(Refused::Settings)?;
    decoder.configure(&options).map_err(|e| {
        let reason = format!("{} does not take its options: {e}", path.display());
        match e.kind() {
            ErrorKind::Usage => Refused::Settings(reason),
            _ => Refused::Module(reason),
        }
    })?;
    Ok(Module {
        info: loaded.info,
        path: path.to_owned(),
        origin: spec.origin,
        abi: loaded.abi_version,
        load_time: start.elapsed(),
        decoder,
        usage: Usage::default(),
    })
}

/// While it lives, what is written to standard output goes to standard error: a list as JSON or a picture is
/// written there, and a module may print when it is loaded.
struct QuietStdout(Option<OwnedFd>);

impl QuietStdout {
    /// Without a standard error, or a descriptor to spare, everything stays as it is.
    fn new() -> Self {
        let kept = rustix::io::fcntl_dupfd_cloexec(std::io::stdout(), 3).ok();
        Self(kept.filter(|_| dup2_stdout(std::io::stderr()).is_ok()))
    }
}

impl Drop for QuietStdout {
    fn drop(&mut self) {
        if let Some(kept) = &self.0
            && let Err(error) = dup2_stdout(kept)
        {
            tracing::warn!("standard output is lost: {error}");
        }
    }
}

/// The library of a path or bare name.
fn locate(name: &str) -> Result<PathBuf, String> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let file = format!("libiiphost_{name}.so");
    let folders = search_folders();
    for folder in &folders {
        for candidate in [folder.join(&file), folder.join(name)] {
            if candidate.is_file() && candidate.extension() == Some(OsStr::new("so")) {
                return Ok(candidate);
            }
        }
    }
    let places: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    Err(format!(
        "{file} is not in {}; give the path of the library, or build the modules",
        places.join(" or ")
    ))
}

/// Beside the executable, and in `../lib/iiphost/` as packages install them.
fn search_folders() -> Vec<PathBuf> {
    let executable = std::env::current_exe().ok();
    let beside = executable
        .as_deref()
        .and_then(Path::parent)
        .map(Path::to_path_buf);
    let installed = beside
        .as_deref()
        .and_then(Path::parent)
        .map(|p| p.join("lib/iiphost"));
    // Test programs run from a folder below the one that has the libraries.
    let above = beside
        .as_deref()
        .filter(|b| b.ends_with("deps"))
        .and_then(Path::parent)
        .map(Path::to_path_buf);
    beside.into_iter().chain(above).chain(installed).collect()
}

/// The hidden first argument of the process that tries a library.
pub const CHECK_ARGUMENT: &str = "--try-to-load-module";

/// Exit status of a child that got to its end. Not 0: a library that calls `exit` ends the process that
/// loads it as if all were well.
pub const LOADED_STATUS: u8 = 86;

/// Exit status of a child that prints why the library is refused.
pub const REFUSED_STATUS: u8 = 87;

/// What the child process does: load the library, ask it what it is, give it its settings.
///
/// `arguments`: the path, then module, option and value of each setting.
///
/// # Errors
/// The refusal, one sentence.
pub fn check_in_child(arguments: &[OsString]) -> Result<(), String> {
    let (path, settings) = arguments.split_first().ok_or("no path")?;
    let loaded = host::load(Path::new(path)).map_err(|e| e.to_string())?;
    let mut decoder = loaded.decoder;
    // Asked again on purpose: a module that crashes when it describes itself is found here.
    let _ = decoder.describe();
    let settings: Vec<Setting> = settings
        .chunks_exact(3)
        .filter_map(|setting| match setting {
            [module, option, value] => Some((
                module.to_str()?.to_owned(),
                option.to_str()?.to_owned(),
                value.to_str()?.to_owned(),
            )),
            _ => None,
        })
        .collect();
    if let Ok(options) = options::for_module(&loaded.info, &settings) {
        // What it says against them it says again in the host's own process.
        let _ = decoder.configure(&options);
    }
    Ok(())
}

/// Tries a library in a process of its own: whether it loads, describes itself and takes its settings, and
/// in time.
///
/// # Errors
/// One sentence, also for a crash or a hang.
pub fn try_in_child(path: &Path) -> Result<(), String> {
    start_check(path, &[]).and_then(|child| finish_check(child, path))
}

fn start_check(path: &Path, settings: &[Setting]) -> Result<Child, String> {
    let executable =
        std::env::current_exe().map_err(|e| format!("cannot find the host's own program: {e}"))?;
    let mut process = Command::new(executable)
        .arg(CHECK_ARGUMENT)
        .arg(path)
        .args(
            settings
                .iter()
                .flat_map(|(module, option, value)| [module, option, value]),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start a process to try {}: {e}", path.display()))?;
    let (sender, complaint) = channel();
    if let Some(stderr) = process.stderr.take() {
        // Read to its end, or a library that prints much would wait for ever; and not waited for, because a
        // process that the library starts may keep it open.
        std::thread::spawn(move || {
            let mut last = Vec::new();
            for line in BufReader::new(stderr.take(MAX_COMPLAINT_BYTES)).split(b'\n') {
                // The reason is the last line; before it stands what the library prints, and its panics.
                match line {
                    Ok(line) if !line.trim_ascii().is_empty() => last = line,
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
            // Whoever waits has waited long enough.
            let _ = sender.send(last);
        });
    }
    Ok(Child { process, complaint })
}

/// A process that tries a library, and the last line that it prints on standard error.
struct Child {
    process: Process,
    complaint: Receiver<Vec<u8>>,
}

fn finish_check(child: Child, path: &Path) -> Result<(), String> {
    let Child {
        process: mut child,
        complaint,
    } = child;
    let start = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if start.elapsed() > LOAD_TIME => {
                // A child that ended just now cannot be killed; either way it is gone.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "{} did not finish loading within {} seconds; its constructors, its description or its settings hang",
                    path.display(),
                    LOAD_TIME.as_secs()
                ));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => {
                return Err(format!(
                    "cannot wait for the process that tries {}: {error}",
                    path.display()
                ));
            }
        }
    };
    if let Some(signal) = status.signal() {
        return Err(format!(
            "{} crashed while it was loaded (signal {signal}); it was tried in a process of its own, the host is unharmed",
            path.display()
        ));
    }
    if status.code() == Some(i32::from(LOADED_STATUS)) {
        return Ok(());
    }
    let text = complaint.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let reason = text.trim();
    if reason.is_empty() || status.code() != Some(i32::from(REFUSED_STATUS)) {
        Err(format!(
            "{} ended the process that tried it ({status}) before it was loaded",
            path.display()
        ))
    } else {
        Err(reason.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, Origin)> {
        ModuleList::parse(text)
            .unwrap()
            .modules
            .into_iter()
            .map(|m| (m.name, m.origin))
            .collect()
    }

    #[test]
    fn built_in_modules_come_last_unless_named_or_left_out() {
        let built_in = |name: &str| (name.to_owned(), Origin::BuiltIn);
        assert_eq!(
            names(""),
            [built_in("tiff"), built_in("jpeg2000"), built_in("jpeg")]
        );
        assert_eq!(
            names("/opt/x.so, optional:y"),
            [
                ("/opt/x.so".to_owned(), Origin::Listed),
                ("y".to_owned(), Origin::Optional),
                built_in("tiff"),
                built_in("jpeg2000"),
                built_in("jpeg")
            ]
        );
        assert_eq!(names("jpeg2000,/opt/x.so")[0].0, "jpeg2000");
        assert_eq!(names("jpeg,-tiff"), [built_in("jpeg"), built_in("jpeg2000")]);
        assert_eq!(names("-tiff,-jpeg,-jpeg2000"), []);
    }

    #[test]
    fn entries_that_mean_nothing_are_all_named() {
        let problems = ModuleList::parse("-nothing,/a.so,/a.so").unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains("nothing") && problems[1].contains("/a.so"));
    }
}
