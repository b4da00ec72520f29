//! The host's own pages: information page, health, gallery, viewer.

use std::path::PathBuf;

use super::Handler;
use super::reply::Family;
use crate::error::Error;
use crate::server::{Request, Response, reply};
use crate::web;

/// The gallery lists at most so many images.
const MAX_LISTED: usize = 1000;

/// Folders looked into for the gallery: links may make a tree without end.
const MAX_FOLDERS: usize = 2000;

/// The reply to an empty query.
pub(super) fn information_page() -> Response {
    Response::new(200)
        .with("Server", reply::SERVER)
        .with("Content-Type", "text/html; charset=utf-8")
        .body(web::information_page())
}

impl Handler {
    /// The host's own replies that need no disk.
    pub(super) fn site_at_once(&self, request: &Request) -> Option<Response> {
        let response = match request.path.as_str() {
            "/health" => Response::new(200)
                .with("Content-Type", "application/json")
                .with("Cache-Control", "no-cache")
                .body(self.health()),
            "/images.json" => return None,
            path => match web::asset(path) {
                Some(asset) => Response::new(200)
                    .with("Content-Type", asset.media_type)
                    .with("Cache-Control", "max-age=3600")
                    .body(asset.body),
                None => {
                    return Some(
                        self.replies
                            .error(&Error::not_found("nothing here"), Family::Other),
                    );
                }
            },
        };
        Some(self.replies.plain(response, Family::Other))
    }

    /// The host's own replies that read folders.
    pub(super) fn site(&self, _request: &Request) -> Response {
        let response = Response::new(200)
            .with("Content-Type", "application/json")
            .with("Cache-Control", "no-cache")
            .body(serde_json::json!({ "images": self.listed_images() }).to_string());
        self.replies.plain(response, Family::Other)
    }

    /// Identifiers of files under the root whose names look like images some module reads, sorted.
    fn listed_images(&self) -> Vec<String> {
        let modules = self.handles.registry().modules();
        let extensions: Vec<&str> = modules
            .iter()
            .flat_map(|m| &m.info.formats)
            .flat_map(|f| &f.extensions)
            .map(String::as_str)
            .collect();
        let root = self.handles.root();
        let mut folders = vec![PathBuf::new()];
        let mut found = Vec::new();
        let mut visited = 0;
        while let Some(folder) = folders.pop() {
            visited += 1;
            if visited > MAX_FOLDERS {
                break;
            }
            let names = root.list(&folder).unwrap_or_else(|error| {
                tracing::warn!(folder = %folder.display(), "cannot list a folder: {error}");
                Vec::new()
            });
            for name in names {
                // What is not UTF-8 cannot be shown, what starts with a dot is hidden.
                let Some(name) = String::from_utf8(name).ok().filter(|n| !n.starts_with('.')) else {
                    continue;
                };
                let path = folder.join(&name);
                let extension = path
                    .extension()
                    .and_then(|e| e.to_str())
                    .map(str::to_ascii_lowercase);
                if extension.is_some_and(|e| extensions.contains(&e.as_str())) {
                    found.extend(path.to_str().map(str::to_owned));
                } else if path.components().count() < 8 && root.folder_stamp(&path).is_ok_and(|s| s.is_some())
                {
                    folders.push(path);
                }
                if found.len() >= MAX_LISTED {
                    folders.clear();
                    break;
                }
            }
        }
        found.sort();
        found
    }

    fn health(&self) -> String {
        let registry = self.handles.registry();
        let modules: Vec<_> = registry
            .modules()
            .iter()
            .map(|module| {
                let quarantined = registry.faults().module_is_quarantined(&module.info.id);
                serde_json::json!({
                    "id": module.info.id,
                    "version": module.info.version,
                    "state": if quarantined { "quarantined" } else { "ready" },
                })
            })
            .collect();
        let (hits, misses) = self.pictures.counts();
        serde_json::json!({
            "status": "ok",
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "modules": modules,
            "module_faults": registry.faults().total(),
            "open_images": self.handles.len(),
            "cache": { "bytes": self.pictures.bytes(), "hits": hits, "misses": misses },
            "render": { "threads": self.workers.threads(), "waiting": self.workers.waiting(), "pictures": self.flights.len(), "bytes": self.memory.used() },
        })
        .to_string()
    }
}
