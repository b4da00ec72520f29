//! One request from start to end.
//!
//! [`Handler`] is the only part that knows all the others. A request whose image is open and whose reply
//! is cached, or is a stored tile that the system holds in memory, is answered on the I/O thread. Everything else
//! goes to the render pool: to open the image, if that is not open yet, and, if nobody does so yet, to make the
//! picture.

mod at_once;
mod budget;
mod images;
mod picture;
mod reply;
mod samples;
mod site;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::cache::{ByteLru, Flights};
use crate::config::Config;
use crate::decoder::{CallScope, Handles, Registry};
use crate::encode::EncoderConfig;
use crate::error::Error;
use crate::protocol::dispatch::Route;
use crate::protocol::iiif::IiifSettings;
use crate::protocol::uri_map::UriMap;
use crate::protocol::{self, Answer, Base, iip};
use crate::server::{Cancel, Method, PendingResponse, Request, Response, Service, reply as plain};
use crate::source::Root;
use crate::workers::{QueueFull, Urgency, Workers};

use budget::Budget;
use images::{ImageHandle, Provider, Sequences};
use picture::{CachedPicture, Prepared};
use reply::{Family, Replies};

/// Everything a request needs.
pub struct Handler {
    config: Config,
    encoders: EncoderConfig,
    iiif: IiifSettings,
    iip: iip::Settings,
    uri_map: UriMap,
    handles: Handles,
    sequences: Sequences,
    pictures: ByteLru<CachedPicture>,
    statistics: ByteLru<picture::KeptStatistics>,
    flights: Flights<Result<CachedPicture, Arc<Error>>>,
    workers: Arc<Workers>,
    memory: Arc<Budget>,
    replies: Replies,
    started: Instant,
}

/// What a request came to before any picture is made.
enum Ready {
    /// The reply.
    Reply(Response),
    /// A picture that is in no cache.
    Render(Box<Prepared>),
    /// Samples or framed tiles: made for this request alone.
    Work(Box<Answer<ImageHandle>>),
}

impl Handler {
    /// A handler for images under a root, opened by the modules of a registry.
    ///
    /// # Errors
    /// Each setting that cannot be used, by name; and when the render pool cannot be started.
    pub fn new(config: Config, root: Root, registry: Registry) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let (uri_map, warnings) = UriMap::parse(config.uri_map.as_deref().unwrap_or_default());
        for warning in warnings {
            tracing::warn!("URI_MAP: {warning}");
        }
        let iiif = reply::iiif_settings(&config, &mut problems);
        let workers = Workers::new(config.render_threads, config.render_queue);
        let workers = workers
            .map_err(|e| problems.push(format!("RENDER_THREADS: {e}")))
            .ok();
        let (Some(iiif), Some(workers), true) = (iiif, workers, problems.is_empty()) else {
            return Err(problems);
        };
        let encoders = picture::encoder_config(&config);
        // A tenth of the cache at most for statistics, which are small and dear.
        let statistics = ByteLru::new((config.image_cache_bytes / 10).max(1 << 20));
        let (workers, registry) = (Arc::new(workers), Arc::new(registry));
        watch(&registry, &workers, config.limits.request_time)
            .map_err(|e| vec![format!("cannot watch the modules: {e}")])?;
        let handles = Handles::new(
            Arc::new(root),
            registry,
            config.open_images.unwrap_or(usize::MAX),
            config.copyright.clone(),
        );
        Ok(Self {
            encoders,
            iiif,
            iip: picture::iip_settings(),
            uri_map,
            handles,
            sequences: Sequences::new(),
            pictures: ByteLru::new(config.image_cache_bytes),
            statistics,
            flights: Flights::new(),
            workers,
            memory: Budget::new(config.render_memory_bytes),
            replies: Replies::new(&config),
            started: Instant::now(),
            config,
        })
    }

    /// Drops all caches and closes all images, as after a reload.
    pub fn clear(&self) {
        self.pictures.clear();
        self.statistics.clear();
        self.sequences.clear();
        self.handles.clear();
    }

    /// Threads that make pictures.
    #[must_use]
    pub fn render_threads(&self) -> usize {
        self.workers.threads()
    }

    fn provider<'a>(&'a self, scope: Option<&'a CallScope>) -> Provider<'a> {
        Provider {
            handles: &self.handles,
            sequences: &self.sequences,
            limits: &self.config.limits,
            pattern: &self.config.filename_pattern,
            scope,
        }
    }

    /// The protocol's answer to a request.
    fn ask(
        &self,
        route: &Route,
        request: &Request,
        provider: &Provider<'_>,
    ) -> Result<Answer<ImageHandle>, Error> {
        let base = Base {
            attachment: request.method == Method::Post,
            ..Base::default()
        };
        match route {
            Route::Iiif(target) => protocol::iiif::answer(target, request, provider, &self.iiif, &base),
            Route::DeepZoom(argument) => {
                protocol::deepzoom::answer(argument, provider, &self.iiif.formats, &base)
            }
            Route::Zoomify(argument) => protocol::zoomify::answer(argument, provider, &base),
            Route::Iip { raw } => {
                let text = [b"FIF=", raw.as_slice()].concat();
                self.ask_iip(
                    &iip::Query {
                        text: &text,
                        post: base.attachment,
                        from_path: true,
                    },
                    request,
                    provider,
                )
            }
            Route::Query { commands } => {
                let post = base.attachment && request.query.is_empty();
                self.ask_iip(
                    &iip::Query {
                        text: commands,
                        post,
                        from_path: false,
                    },
                    request,
                    provider,
                )
            }
            Route::MappedRoot | Route::Unmatched => Err(Error::not_found("nothing here")),
        }
    }

    fn ask_iip(
        &self,
        query: &iip::Query<'_>,
        request: &Request,
        provider: &Provider<'_>,
    ) -> Result<Answer<ImageHandle>, Error> {
        iip::answer(query, provider, &self.iip, &mut |foreign, raw, base| {
            protocol::foreign_answer(foreign, raw, request, provider, &self.iiif, base)
        })
    }

    /// As far as a request gets without making a picture.
    fn prepare(&self, route: &Route, request: &Request, scope: Option<&CallScope>) -> Result<Ready, Error> {
        let family = Family::of(route);
        match self.ask(route, request, &self.provider(scope))? {
            Answer::Reply(response) => Ok(Ready::Reply(self.replies.plain(response, family))),
            Answer::Document { image, response } => Ok(Ready::Reply(
                self.replies.document(request, &image, response, family),
            )),
            Answer::Picture(picture) => {
                let prepared = self.prepare_picture(&picture)?;
                Ok(match self.known_reply(request, &prepared, family) {
                    Some(reply) => Ready::Reply(reply),
                    None => Ready::Render(Box::new(prepared)),
                })
            }
            work => Ok(Ready::Work(Box::new(work))),
        }
    }

    /// The reply to a picture that needs no work: unchanged, or in the cache.
    fn known_reply(&self, request: &Request, prepared: &Prepared, family: Family) -> Option<Response> {
        if let Some(unchanged) = self.replies.unchanged(request, prepared, family) {
            return Some(unchanged);
        }
        let picture = self.pictures.get(&prepared.key)?;
        Some(self.replies.picture(request, prepared, &picture, family))
    }

    /// What has an answer without any image: methods, the host's own pages.
    fn early(&self, route: &Route, request: &Request) -> Option<Response> {
        let family = Family::of(route);
        if let Err(error) = route.check_method(&request.method) {
            return Some(self.replies.error(&error, family));
        }
        if request.method == Method::Options {
            return Some(self.replies.plain(plain::options(route.allow()), family));
        }
        match route {
            Route::Query { commands } if commands.is_empty() => {
                Some(self.replies.plain(site::information_page(), family))
            }
            Route::MappedRoot => Some(self.replies.error(&Error::not_found("nothing here"), family)),
            _ => None,
        }
    }

    fn retry_after(&self) -> Duration {
        // Seconds until the queue has drained at a guess of 20 ms a job.
        let jobs = self.workers.waiting() / self.workers.threads().max(1);
        Duration::from_millis(jobs as u64 * 20).max(Duration::from_secs(1))
    }

    fn overloaded(&self, full: &QueueFull) -> Error {
        Error::Unavailable {
            reason: full.to_string(),
            retry_after: self.retry_after(),
        }
    }

    /// Runs a closure on the render pool and waits for it until the deadline.
    async fn on_pool<T: Send + 'static>(
        self: &Arc<Self>,
        urgency: Urgency,
        scope: &CallScope,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = oneshot::channel();
        let handler = self.clone();
        let job_scope = scope.clone();
        let job = move || {
            if sender.is_closed() || job_scope.is_abandoned() {
                return;
            }
            // Nobody listens any more if this fails; the work was done for nothing.
            let _ = sender.send(work(&handler));
        };
        self.workers
            .submit(urgency, job)
            .map_err(|full| self.overloaded(&full))?;
        self.until_deadline(scope, receiver)
            .await?
            .map_err(|_| Error::fault("render", "a job was lost"))?
    }

    async fn until_deadline<F: Future>(&self, scope: &CallScope, future: F) -> Result<F::Output, Error> {
        tokio::time::timeout_at(scope.deadline().into(), future)
            .await
            .map_err(|_| Error::Unavailable {
                reason: format!(
                    "not finished within {} s (REQUEST_TIMEOUT)",
                    self.config.limits.request_time.as_secs()
                ),
                retry_after: self.retry_after(),
            })
    }

    /// The rest of a request that could not be answered at once.
    async fn work(
        self: Arc<Self>,
        route: Route,
        request: Arc<Request>,
        abandoned: Cancel,
    ) -> Result<Response, Error> {
        let deadline = Instant::now() + self.config.limits.request_time;
        let scope = CallScope::new(deadline, abandoned.into_flag());
        let family = Family::of(&route);
        if matches!(route, Route::Unmatched) {
            let page = request.clone();
            return self
                .on_pool(Urgency::Tile, &scope, move |handler| Ok(handler.site(&page)))
                .await;
        }
        // Planning for an open image is less work than a trip to the pool.
        let ready = match self.prepare(&route, &request, None) {
            Err(Error::NeedsIo) => {
                let (asked, job_scope) = (request.clone(), scope.clone());
                self.on_pool(Urgency::Tile, &scope, move |handler| {
                    handler.prepare(&route, &asked, Some(&job_scope))
                })
                .await?
            }
            known => known?,
        };
        match ready {
            Ready::Reply(reply) => Ok(reply),
            Ready::Render(prepared) => {
                let picture = self.make(&prepared, &scope).await?;
                Ok(self.replies.picture(&request, &prepared, &picture, family))
            }
            Ready::Work(answer) => {
                let job_scope = scope.clone();
                self.on_pool(Urgency::Export, &scope, move |handler| {
                    handler.samples_or_tiles(*answer, &request, family, &job_scope)
                })
                .await
            }
        }
    }

    /// Makes a picture, or waits for the one who makes it already.
    async fn make(self: &Arc<Self>, prepared: &Prepared, scope: &CallScope) -> Result<CachedPicture, Error> {
        let (waiter, leads) = self.flights.join(&prepared.key);
        if leads {
            let (handler, job) = (self.clone(), prepared.clone());
            // The work belongs to all who wait for it: it stops when the last one leaves.
            let job_scope = CallScope::new(scope.deadline(), waiter.abandoned());
            let ticket = waiter.ticket();
            let guard = picture::FinishGuard::new(self.clone(), prepared.key.clone(), ticket);
            let submitted = self.workers.submit(prepared.urgency, move || {
                let result = if job_scope.is_abandoned() {
                    Err(Error::Cancelled)
                } else {
                    handler.render(&job, &job_scope)
                };
                guard.finish(result);
            });
            submitted.map_err(|full| self.overloaded(&full))?;
        }
        let result = self.until_deadline(scope, waiter.wait()).await?;
        result
            .unwrap_or_else(|| Err(Arc::new(Error::fault("render", "a job was lost"))))
            .map_err(|error| Error::shared(&error))
    }
}

/// How long a call of a module may last after its deadline before it counts as hanging. As long as it was
/// meant to take: a codec in C that does not look at the time is slow, not dead.
const PATIENCE: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(60);

/// Watches the calls of the modules; render threads that they keep are replaced.
fn watch(registry: &Arc<Registry>, workers: &Arc<Workers>, request_time: Duration) -> std::io::Result<()> {
    let patience = request_time.clamp(*PATIENCE.start(), *PATIENCE.end());
    let workers = workers.clone();
    registry.watch(patience, move |thread| {
        if let Err(error) = workers.give_up(thread) {
            tracing::error!("{error}");
        }
    })
}

impl Service for Handler {
    fn try_answer(&self, request: &Request) -> Option<Response> {
        let start = Instant::now();
        let route = Route::of(request, &self.uri_map);
        let reply = self.early(&route, request).or_else(|| match route {
            Route::Unmatched => self.site_at_once(request),
            _ => match self.prepare(&route, request, None) {
                Ok(Ready::Reply(reply)) => Some(reply),
                Ok(Ready::Render(prepared)) => {
                    let picture = self.stored_at_once(&prepared)?;
                    Some(
                        self.replies
                            .picture(request, &prepared, &picture, Family::of(&route)),
                    )
                }
                Ok(Ready::Work(_)) | Err(Error::NeedsIo) => None,
                Err(error) => Some(self.replies.failed(&error, request, Family::of(&route))),
            },
        })?;
        self.replies.log(request, &reply, start.elapsed());
        Some(reply)
    }

    fn answer(self: Arc<Self>, request: Request, abandoned: Cancel) -> PendingResponse {
        Box::pin(async move {
            let start = Instant::now();
            let request = Arc::new(request);
            let route = Route::of(&request, &self.uri_map);
            let family = Family::of(&route);
            let reply = match self.clone().work(route, request.clone(), abandoned).await {
                Ok(reply) => reply,
                Err(error) => self.replies.failed(&error, &request, family),
            };
            self.replies.log(&request, &reply, start.elapsed());
            reply
        })
    }

    fn refuse(&self, request: Option<&Request>, error: &Error) -> Response {
        let family = request.map_or(Family::Other, |r| Family::of(&Route::of(r, &self.uri_map)));
        let reply = self.replies.error(error, family);
        if let Some(request) = request {
            self.replies.log(request, &reply, Duration::ZERO);
        }
        reply
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
