//! The host's account of itself: health, status, measurements.

use serde_json::{Value, json};

use super::Handler;
use crate::decoder::{ModuleSnapshot, ModuleState, Snapshot};
use crate::logging;
use crate::metrics::{Exposition, Kind, process};
use crate::server::Connections;
use crate::workers::Urgency;

impl Handler {
    /// The state as people and scripts read it: `/health`, `iiphost status`.
    pub(super) fn state(&self) -> Value {
        let modules = self.handles.registry().snapshot();
        let listed: Vec<_> = modules
            .modules
            .iter()
            .map(|module| {
                json!({
                    "id": named(module),
                    "version": module.version,
                    "state": module.state.name(),
                })
            })
            .collect();
        let (hits, misses) = self.pictures.counts();
        let (decodes, taken) = self.joined.counts();
        let trouble = self.trouble(&modules);
        let mut state = json!({
            "status": if trouble.is_empty() { "ok" } else { "degraded" },
            "trouble": trouble,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "requests": self.metrics.requests(),
            "modules": listed,
            "module_faults": modules.faults,
            "module_calls_hanging": modules.hanging,
            "open_images": self.handles.len(),
            "cache": {
                "bytes": self.pictures.bytes(),
                "limit": self.config.image_cache_bytes,
                "hits": hits,
                "misses": misses,
            },
            "joined_tiles": { "bytes": self.joined.bytes(), "decodes": decodes, "taken": taken },
            "render": {
                "threads": self.workers.threads(),
                "busy": self.workers.busy(),
                "given_up": self.workers.given_up(),
                "waiting": self.workers.waiting() + self.exports.waiting(),
                "pictures": self.flights.len(),
                "bytes": self.memory.used(),
                "expected_wait_ms": self.workers.expected_wait(Urgency::Export).as_millis() as u64,
            },
            "connections": self.connections.get().map_or(0, |c| c.now().0),
            "log_lines_lost": logging::lost_lines(),
        });
        if let (Some(memcached), Some(state)) = (&self.memcached, state.as_object_mut()) {
            let counts = memcached.counts();
            let servers: Vec<_> = memcached
                .servers()
                .map(|(address, in_use)| {
                    json!({
                        "address": address.to_string(),
                        "state": if in_use { "in use" } else { "left alone" },
                    })
                })
                .collect();
            let memcached = json!({
                "servers": servers,
                "hits": counts.hits,
                "misses": counts.misses,
                "failures": counts.failures,
                "stored": counts.stored,
            });
            state.insert("memcached".to_owned(), memcached);
        }
        state
    }

    /// The state with what is not for clients: paths and messages of modules.
    #[must_use]
    pub fn status(&self) -> Value {
        let mut state = self.state();
        let modules = self.handles.registry().snapshot();
        let listed: Vec<_> = modules
            .modules
            .iter()
            .map(|module| {
                let faults = &module.faults;
                let last = module.last_fault.as_ref();
                json!({
                    "id": module.id,
                    "version": module.version,
                    "state": match &module.state {
                        ModuleState::Failed(reason) => format!("failed: {reason}"),
                        ModuleState::Resting(left) => format!("quarantined for {} s", left.as_secs()),
                        ModuleState::Hanging(calls) => format!("quarantined: {calls} calls hang"),
                        state => state.name().to_owned(),
                    },
                    "faults": faults.total(),
                    "last_fault": last.map(|fault| {
                        format!("{} on {}: {}", fault.kind.name(), fault.path.display(), fault.message)
                    }),
                    "path": module.path,
                })
            })
            .collect();
        let files: Vec<_> = modules
            .files
            .iter()
            .map(|file| {
                let time = match file.time_left {
                    Some(left) => format!("for {} s", left.as_secs()),
                    None => "while a call about it hangs".to_owned(),
                };
                format!("{} ({}) {time}", file.path.display(), file.module)
            })
            .collect();
        if let Some(state) = state.as_object_mut() {
            state.insert("modules".to_owned(), listed.into());
            state.insert("files_left_alone".to_owned(), files.into());
        }
        state
    }

    /// What is not as it should be, in words.
    fn trouble(&self, modules: &Snapshot) -> Vec<String> {
        let mut trouble: Vec<String> = modules
            .modules
            .iter()
            .filter(|module| module.state != ModuleState::Ready)
            .map(|module| match module.state {
                ModuleState::Failed(_) => format!("module {} could not be loaded", named(module)),
                _ => format!("module {} is left alone after faults", module.id),
            })
            .collect();
        if modules.hanging > 0 {
            trouble.push(format!("{} calls of modules hang", modules.hanging));
        }
        if let Some(memcached) = &self.memcached {
            let dead = memcached.servers().filter(|(_, in_use)| !in_use);
            trouble.extend(dead.map(|(address, _)| format!("memcached {address} does not answer")));
        }
        trouble
    }

    /// Why requests should go to another server, if they should.
    pub(super) fn not_ready(&self) -> Option<&'static str> {
        let registry = self.handles.registry();
        let usable = |id: &str| !registry.faults().module_is_quarantined(id);
        if !registry.modules().iter().any(|module| usable(&module.info.id)) {
            return Some("every module is left alone after faults");
        }
        let is_there = self.handles.root().is_in_place();
        (!is_there)
            .then_some("the folder of images is gone or another one; restart the host when it is there")
    }

    /// Everything measured, for Prometheus.
    pub(super) fn measurements(&self) -> String {
        let mut text = Exposition::default();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        text.family(
            "iiphost_build_info",
            Kind::Gauge,
            "The version of the host.",
            [(&version[..], 1)],
        );
        self.metrics.write(&mut text);
        self.write_caches(&mut text);
        self.write_memcached(&mut text);
        self.write_rendering(&mut text);
        self.write_modules(&mut text);
        text.single(
            "iiphost_log_lines_lost_total",
            Kind::Counter,
            "Lines of the log lost because it was too slow or could not be written.",
            logging::lost_lines(),
        );
        if let Some((now, limit)) = self.connections.get().map(Connections::now) {
            text.single(
                "iiphost_connections",
                Kind::Gauge,
                "Connections open, idle ones included.",
                now,
            );
            text.single(
                "iiphost_connections_limit",
                Kind::Gauge,
                "Connections served at a time (MAX_CONNECTIONS).",
                limit,
            );
        }
        write_process(&mut text);
        text.finish()
    }

    fn write_caches(&self, text: &mut Exposition) {
        let (hits, misses) = self.pictures.counts();
        text.family(
            "iiphost_cache_lookups_total",
            Kind::Counter,
            "Look-ups in the cache of pictures in memory.",
            [
                (&[("result", "hit")][..], hits),
                (&[("result", "miss")][..], misses),
            ],
        );
        text.single(
            "iiphost_cache_bytes",
            Kind::Gauge,
            "Bytes held by the cache of pictures.",
            self.pictures.bytes(),
        );
        text.single(
            "iiphost_cache_limit_bytes",
            Kind::Gauge,
            "Bytes it may hold (MAX_IMAGE_CACHE_SIZE).",
            self.config.image_cache_bytes,
        );
        text.single(
            "iiphost_open_images",
            Kind::Gauge,
            "Images open.",
            self.handles.len(),
        );
    }

    fn write_memcached(&self, text: &mut Exposition) {
        let Some(memcached) = &self.memcached else {
            return;
        };
        let counts = memcached.counts();
        text.family(
            "iiphost_memcached_lookups_total",
            Kind::Counter,
            "Look-ups in memcached; waited ones are also hits, foreign values also misses.",
            [
                (&[("result", "hit")][..], counts.hits),
                (&[("result", "miss")][..], counts.misses),
                (&[("result", "waited")][..], counts.waited),
                (&[("result", "foreign")][..], counts.foreign),
                (&[("result", "skipped")][..], counts.skipped),
            ],
        );
        text.single(
            "iiphost_memcached_failures_total",
            Kind::Counter,
            "Questions to memcached without an answer in time.",
            counts.failures,
        );
        text.family(
            "iiphost_memcached_stores_total",
            Kind::Counter,
            "Pictures made and stored in memcached, or not.",
            [
                (&[("result", "stored")][..], counts.stored),
                (&[("result", "not_stored")][..], counts.not_stored),
            ],
        );
        let servers: Vec<_> = memcached
            .servers()
            .map(|(address, in_use)| (address.to_string(), u8::from(in_use)))
            .collect();
        let labels: Vec<_> = servers
            .iter()
            .map(|(name, up)| ([("server", name.as_str())], up))
            .collect();
        text.family(
            "iiphost_memcached_up",
            Kind::Gauge,
            "Whether a server is in use, or left alone after failures.",
            labels.iter().map(|(labels, up)| (&labels[..], up)),
        );
    }

    fn write_rendering(&self, text: &mut Exposition) {
        let (tile, export) = (Urgency::Tile, Urgency::Export);
        text.family(
            "iiphost_render_queue_jobs",
            Kind::Gauge,
            "Jobs waiting for a thread.",
            [
                (&[("kind", "tile")][..], self.workers.waiting_of(tile)),
                (
                    &[("kind", "export")][..],
                    self.workers.waiting_of(export) + self.exports.waiting(),
                ),
            ],
        );
        text.single(
            "iiphost_render_queue_limit",
            Kind::Gauge,
            "Jobs that may wait (RENDER_QUEUE).",
            self.config.render_queue,
        );
        text.histograms(
            "iiphost_render_queue_seconds",
            "Time jobs waited for a thread.",
            [
                (&[("kind", "tile")][..], self.workers.queue_times(tile)),
                (&[("kind", "export")][..], self.workers.queue_times(export)),
            ],
        );
        text.histograms(
            "iiphost_render_job_seconds",
            "Time jobs took on their thread: opening files, making pictures.",
            [
                (&[("kind", "tile")][..], self.workers.job_times(tile)),
                (&[("kind", "export")][..], self.workers.job_times(export)),
            ],
        );
        text.single(
            "iiphost_render_threads",
            Kind::Gauge,
            "Threads that make pictures.",
            self.workers.threads(),
        );
        text.single(
            "iiphost_render_threads_busy",
            Kind::Gauge,
            "Those of them in a job.",
            self.workers.busy(),
        );
        text.single(
            "iiphost_render_memory_bytes",
            Kind::Gauge,
            "Memory set aside for pixels of running requests.",
            self.memory.used(),
        );
        text.single(
            "iiphost_render_memory_limit_bytes",
            Kind::Gauge,
            "Memory there is for pixels (MAX_RENDER_MEMORY).",
            self.config.render_memory_bytes,
        );
        text.single(
            "iiphost_renderings",
            Kind::Gauge,
            "Pictures being made or waiting to be.",
            self.flights.len(),
        );
    }

    fn write_modules(&self, text: &mut Exposition) {
        let modules = self.handles.registry().snapshot().modules;
        let ready: Vec<_> = modules
            .iter()
            .map(|module| {
                let ready = u8::from(module.state == ModuleState::Ready);
                (
                    [("module", named(module)), ("version", module.version.as_str())],
                    ready,
                )
            })
            .collect();
        text.family(
            "iiphost_module_ready",
            Kind::Gauge,
            "Whether a module is in use; 0 if it is left alone after faults or could not be loaded.",
            ready.iter().map(|(labels, ready)| (&labels[..], ready)),
        );
        let mut faults = Vec::new();
        for module in &modules {
            let counts = &module.faults;
            for (kind, count) in [
                ("panic", counts.panics),
                ("lie", counts.lies),
                ("hang", counts.hangs),
            ] {
                faults.push(([("module", named(module)), ("kind", kind)], count));
            }
        }
        text.family(
            "iiphost_module_faults_total",
            Kind::Counter,
            "Panics of modules, answers that cannot be true, calls that did not come back in time.",
            faults.iter().map(|(labels, count)| (&labels[..], count)),
        );
        let calls: Vec<_> = modules
            .iter()
            .flat_map(|module| module.calls.iter().map(|calls| (named(module), calls)))
            .map(|(module, calls)| ([("module", module), ("call", calls.entry.name())], calls))
            .collect();
        text.family(
            "iiphost_module_calls_total",
            Kind::Counter,
            "Calls of modules that have ended.",
            calls.iter().map(|(labels, calls)| (&labels[..], calls.calls)),
        );
        text.family(
            "iiphost_module_failures_total",
            Kind::Counter,
            "Calls of modules that failed, for whatever reason.",
            calls.iter().map(|(labels, calls)| (&labels[..], calls.failures)),
        );
        text.family(
            "iiphost_module_seconds_total",
            Kind::Counter,
            "Time spent in calls of modules: decoding is read and encoded_tile.",
            calls
                .iter()
                .map(|(labels, calls)| (&labels[..], calls.time.as_secs_f64())),
        );
        let hanging: Vec<_> = modules
            .iter()
            .map(|module| ([("module", named(module))], module.hanging))
            .collect();
        text.family(
            "iiphost_module_hanging_calls",
            Kind::Gauge,
            "Calls of modules that hang now. Each keeps a thread.",
            hanging.iter().map(|(labels, count)| (&labels[..], count)),
        );
    }
}

/// The name of a module for everybody: of one that could not be loaded the operator's word, without folders.
fn named(module: &ModuleSnapshot) -> &str {
    module.id.rsplit('/').next().unwrap_or(&module.id)
}

fn write_process(text: &mut Exposition) {
    let process = process();
    text.single(
        "process_resident_memory_bytes",
        Kind::Gauge,
        "Resident memory size in bytes.",
        process.resident_bytes,
    );
    text.single(
        "process_cpu_seconds_total",
        Kind::Counter,
        "Processor time used, user and system.",
        process.cpu_time.as_secs_f64(),
    );
    text.single(
        "process_open_fds",
        Kind::Gauge,
        "Open file descriptors.",
        process.open_files,
    );
    text.single(
        "process_max_fds",
        Kind::Gauge,
        "File descriptors that may be open.",
        process.max_open_files,
    );
}
