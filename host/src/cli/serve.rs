//! Starting the server.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::ArgMatches;

use crate::admin;
use crate::config::{Config, Values};
use crate::decoder::{ClaimRule, LoadFailure, ModuleList, Origin, Registry, load_modules};
use crate::handler::Handler;
use crate::logging;
use crate::server::{Activation, Bound, IntakeLimits, ListenAddress, ListenConfig, Timeouts};
use crate::source::Root;

/// What loading the modules gave.
pub(super) struct Modules {
    pub(super) registry: Registry,
    pub(super) failures: Vec<LoadFailure>,
}

/// Loads the modules of a configuration.
///
/// # Errors
/// A list of modules or options that means nothing.
pub(super) fn load(config: &Config) -> anyhow::Result<Modules> {
    let list = ModuleList::parse(&config.decoder_modules)
        .map_err(|mistakes| anyhow::anyhow!("DECODER_MODULES: {}", mistakes.join("; ")))?;
    let options = module_options(&config.decoder_options)?;
    let rules = ClaimRule::parse_list(&config.decoder_claims)
        .map_err(|mistakes| anyhow::anyhow!("DECODER_CLAIMS: {}", mistakes.join("; ")))?;
    let (modules, failures) = load_modules(&list, &options, &rules);
    let registry = Registry::new(modules)
        .with_rules(rules)
        .with_upright(config.upright);
    Ok(Modules { registry, failures })
}

/// `DECODER_OPTIONS`: `module.option=value`, separated by commas.
fn module_options(text: &str) -> anyhow::Result<Vec<(String, String, String)>> {
    text.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let parts = entry
                .split_once('=')
                .and_then(|(name, value)| Some((name.split_once('.')?, value)));
            let ((module, option), value) =
                parts.with_context(|| format!("DECODER_OPTIONS: {entry:?} is not module.option=value"))?;
            Ok((
                module.trim().to_owned(),
                option.trim().to_owned(),
                value.trim().to_owned(),
            ))
        })
        .collect()
}

/// A handler for a configuration and its modules.
///
/// # Errors
/// A root that cannot be opened, and every setting that cannot be used.
pub(super) fn handler(
    config: Config,
    registry: Registry,
    directory: Option<PathBuf>,
    http: bool,
) -> anyhow::Result<Handler> {
    let root = match &config.filesystem_prefix {
        Some(prefix) => Root::from_prefix(prefix)
            .with_context(|| format!("FILESYSTEM_PREFIX: cannot open {}", prefix.display()))?,
        None => {
            let directory = config.default_root(directory, http);
            Root::new(&directory)
                .with_context(|| format!("cannot open the folder {}", directory.display()))?
        }
    };
    let root = root
        .with_suffix(&config.filesystem_suffix)
        .with_links_outside(config.follow_symlinks);
    Handler::new(config, root, registry).map_err(|mistakes| anyhow::anyhow!(mistakes.join("\niiphost: ")))
}

/// Serves until told to stop.
pub(super) fn run(matches: &ArgMatches, values: &Values) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let mut addresses = Addresses::read(matches, values);
    let config = super::config_and(values, std::mem::take(&mut addresses.mistakes))?;
    // Before any thread is started.
    let activation = Activation::take()?;
    let _log = logging::start(&config)?;
    let listen = listen_config(&config, addresses);
    let http = !listen.http.is_empty() || activation.has_http();
    // Before the modules: a port that is taken is said at once, and clients can already queue.
    let bound = Bound::with_activation(listen, activation)?;
    let Modules { registry, failures } = load(&config)?;
    let (optional, fatal): (Vec<_>, Vec<_>) = failures
        .into_iter()
        .partition(|f| f.spec.origin == Origin::Optional);
    optional.iter().for_each(|failure| tracing::warn!("{failure}"));
    super::refuse(fatal.iter().map(LoadFailure::to_string))?;
    anyhow::ensure!(
        !registry.modules().is_empty(),
        "DECODER_MODULES leaves no module to read images with"
    );
    for module in registry.modules() {
        tracing::info!(
            id = module.info.id,
            version = module.info.version,
            abi = format!("{}.{}", module.abi.0, module.abi.1),
            path = %module.path.display(),
            "module loaded"
        );
    }
    let directory = matches.get_one::<PathBuf>("DIR").cloned();
    if config.filesystem_prefix.is_none() && directory.is_none() && !http {
        tracing::warn!("FILESYSTEM_PREFIX is not set: every readable image of this machine is served");
    }
    let reopen = config.log_file.clone();
    let admin_socket = config.admin_socket.clone();
    let registry = registry.with_missing(optional);
    let handler = Arc::new(handler(config, registry, directory, http)?);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        threads = handler.render_threads(),
        start_ms = start.elapsed().as_millis() as u64,
        "started"
    );
    handler.count_connections(bound.connections());
    let _admin = match &admin_socket {
        Some(path) => Some(admin::serve(path, commands(handler.clone())).context("ADMIN_SOCKET")?),
        None => None,
    };
    super::notify::ready();
    let reload = {
        let handler = handler.clone();
        move || {
            handler.reload();
            if reopen.is_some() {
                logging::reopen();
            }
            tracing::info!("caches emptied, images closed");
        }
    };
    for address in bound.http_addresses() {
        // For a person who looks. Where nobody does, a closed pipe for example, the server starts all the same.
        let _ = writeln!(std::io::stdout(), "iiphost: http://{address}/");
    }
    bound.run(handler, reload).context("cannot serve")?;
    // A log that fell behind has no room for the last line until some of it is written.
    logging::flush();
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// What the operator's commands do.
fn commands(handler: Arc<Handler>) -> impl Fn(admin::Command) -> serde_json::Value {
    move |command| match command {
        admin::Command::Status => handler.status(),
        admin::Command::Purge { identifier } => match handler.purge(&identifier) {
            Ok(purged) => serde_json::json!({
                "closed": purged.closed,
                "pictures": purged.pictures,
                "unreached": purged.unreached,
            }),
            Err(error) => serde_json::json!({ "error": error.to_string() }),
        },
    }
}

fn listen_config(config: &Config, addresses: Addresses) -> ListenConfig {
    let Addresses { fastcgi, http, .. } = addresses;
    let default = ListenConfig::default();
    ListenConfig {
        inherited: fastcgi.is_empty() && http.is_empty(),
        fastcgi,
        http,
        backlog: config.backlog,
        socket_mode: config.socket_mode,
        allowed_web_servers: config.web_server_addresses.clone(),
        max_connections: config.max_connections,
        intake: IntakeLimits {
            max_body_bytes: usize::try_from(config.max_body_bytes).unwrap_or(usize::MAX),
            ..IntakeLimits::default()
        },
        timeouts: Timeouts {
            idle: config.idle_time,
            ..Timeouts::default()
        },
        ..default
    }
}

/// Where to listen: what flags say, else what the configuration file says.
#[derive(Debug)]
pub(super) struct Addresses {
    fastcgi: Vec<ListenAddress>,
    http: Vec<ListenAddress>,
    /// What is not an address.
    pub(super) mistakes: Vec<String>,
}

impl Addresses {
    pub(super) fn read(matches: &ArgMatches, values: &Values) -> Self {
        let mut mistakes = Vec::new();
        let mut parse = |name: &str, in_file: &[String]| -> Vec<ListenAddress> {
            let flags: Vec<&String> = matches.get_many(name).into_iter().flatten().collect();
            let (prefix, given) = if flags.is_empty() {
                ("", in_file.iter().collect())
            } else {
                ("--", flags)
            };
            let mut addresses = Vec::new();
            for text in given {
                match text.parse() {
                    Ok(address) => addresses.push(address),
                    Err(error) => mistakes.push(format!("{prefix}{name} {text}: {error}")),
                }
            }
            addresses
        };
        let (bind, http) = values.file_addresses();
        Self {
            fastcgi: parse("bind", bind),
            http: parse("http", http),
            mistakes,
        }
    }
}
