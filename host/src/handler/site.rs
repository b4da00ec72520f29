//! The host's own pages: information page, health, gallery, viewer.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::Handler;
use super::reply::Family;
use crate::error::Error;
use crate::metrics::MEDIA_TYPE;
use crate::server::{Request, Response, reply};
use crate::web;

/// The gallery lists at most so many images.
const MAX_LISTED: usize = 1000;

/// Folders looked into for the gallery: links may make a tree without end.
const MAX_FOLDERS: usize = 2000;

/// How long a listing is used at least.
const LISTING_AGE: Duration = Duration::from_secs(2);

/// And how many times as long as it took to make: looking through folders takes at most that part of the
/// time of one thread.
const LISTING_SHARE: u32 = 20;

/// The list of images, made at most now and then.
#[derive(Debug, Default)]
pub(super) struct Listing {
    last: Mutex<Option<Listed>>,
    /// Held by the one who makes a new one.
    making: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Listed {
    until: Instant,
    text: Bytes,
}

impl Listing {
    /// The last list while it is fresh.
    fn fresh(&self) -> Option<Bytes> {
        let last = self.last.lock();
        let fresh = last.as_ref().filter(|listed| Instant::now() < listed.until);
        fresh.map(|listed| listed.text.clone())
    }

    /// The last list, or a new one. Those who come while it is made get the last one, if there is any.
    fn get(&self, make: impl FnOnce() -> String) -> Bytes {
        let last = self.last.lock().clone();
        let _making = match (self.making.try_lock(), last) {
            (Some(making), _) => making,
            (None, Some(last)) => return last.text,
            (None, None) => self.making.lock(),
        };
        if let Some(text) = self.fresh() {
            return text;
        }
        let start = Instant::now();
        let text = Bytes::from(make());
        let listed = Listed {
            until: Instant::now() + LISTING_AGE.max(start.elapsed() * LISTING_SHARE),
            text: text.clone(),
        };
        *self.last.lock() = Some(listed);
        text
    }

    pub(super) fn clear(&self) {
        *self.last.lock() = None;
    }
}

/// A reply about the host itself, true only now.
fn account(status: u16, media_type: &'static str) -> Response {
    Response::new(status)
        .with("Content-Type", media_type)
        .with("Cache-Control", "no-cache")
}

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
            "/health" => account(200, "application/json").body(self.state().to_string()),
            "/health/live" => account(200, "text/plain; charset=utf-8").body("alive\n"),
            "/health/ready" => match self.not_ready() {
                None => account(200, "text/plain; charset=utf-8").body("ready\n"),
                Some(reason) => account(503, "text/plain; charset=utf-8").body(format!("{reason}\n")),
            },
            "/metrics" => account(200, MEDIA_TYPE).body(self.measurements()),
            "/images.json" => account(200, "application/json").body(self.listing.fresh()?),
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
    pub(super) fn site(&self) -> Response {
        let images = || serde_json::json!({ "images": self.listed_images() }).to_string();
        let response = account(200, "application/json").body(self.listing.get(images));
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_made_once_in_a_while() {
        let listing = Listing::default();
        assert_eq!(listing.fresh(), None);
        assert_eq!(listing.get(|| "one".into()), "one");
        assert_eq!(listing.get(|| "two".into()), "one");
        assert_eq!(listing.fresh().as_deref(), Some(&b"one"[..]));
        listing.clear();
        assert_eq!(listing.get(|| "three".into()), "three");
    }

    #[test]
    fn who_comes_while_a_list_is_made_gets_the_last_one() {
        let listing = Listing::default();
        let past = Instant::now();
        *listing.last.lock() = Some(Listed {
            until: past,
            text: "old".into(),
        });
        let inner = || {
            std::thread::scope(|scope| {
                let other = scope.spawn(|| listing.get(|| "never".into()));
                assert_eq!(other.join().unwrap(), "old");
            });
            "new".to_owned()
        };
        assert_eq!(listing.get(inner), "new");
    }
}
