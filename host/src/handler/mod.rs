//! One request from start to end.
//!
//! [`Handler`] is the only part that knows all the others. A request whose image is open and whose reply
//! is cached, or is a stored tile that the system holds in memory, is answered on the I/O thread. Everything else
//! goes to the render pool: to open the image, if that is not open yet, and, if nobody does so yet, to make the
//! picture.

mod admission;
mod at_once;
mod budget;
mod export;
mod growing;
mod images;
mod making;
mod mark;
mod neighbors;
mod picture;
mod pixels;
mod purge;
mod reply;
mod report;
mod samples;
mod site;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::cache::{ByteLru, Flights, Memcached};
use crate::color::Transforms;
use crate::config::Config;
use crate::decoder::{CallScope, Handles, JoinedReads, Overrun, Patience, Registry};
use crate::encode::EncoderConfig;
use crate::error::Error;
use crate::metrics::{Metrics, Origin, Protocol};
use crate::protocol::dispatch::Route;
use crate::protocol::iiif::IiifSettings;
use crate::protocol::uri_map::UriMap;
use crate::protocol::{self, Answer, Base, iip};
use crate::server::{
    Cancel, Connections, Method, PendingResponse, Request, Response, Service, reply as plain,
};
use crate::source::Root;
use crate::watermark::Watermark;
use crate::workers::{Loss, Urgency, Workers};

use budget::Budget;
use export::Exports;
use images::{ImageHandle, Opening, Provider, Sequences};
pub use purge::Purged;

use making::Outcome;
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
    opening: Opening,
    pictures: ByteLru<CachedPicture>,
    joined: Arc<JoinedReads>,
    statistics: ByteLru<picture::KeptStatistics>,
    flights: Flights<Outcome>,
    memcached: Option<Memcached>,
    metrics: Metrics,
    connections: OnceLock<Connections>,
    workers: Arc<Workers>,
    exports: Exports,
    memory: Arc<Budget>,
    /// What large exports may have of it.
    export_memory: Arc<Budget>,
    transforms: Transforms,
    watermark: RwLock<Option<Arc<Watermark>>>,
    replies: Replies,
    listing: site::Listing,
    started: Instant,
}

/// What a request came to before any picture is made.
enum Ready {
    /// The reply; of a picture, where it came from.
    Reply(Response, Option<Origin>),
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
        let registry = Arc::new(registry);
        let watermark = mark::load(&config, &registry).map_err(|e| problems.push(e)).ok();
        let (Some(iiif), Some(workers), Some(watermark), true) =
            (iiif, workers, watermark, problems.is_empty())
        else {
            return Err(problems);
        };
        let memcached = match memcached_of(&config) {
            Ok(memcached) => memcached,
            Err(error) => return Err(vec![format!("MEMCACHED_SERVERS: no thread: {error}")]),
        };
        let exports = Exports::start(workers.threads(), config.render_queue)
            .map_err(|e| vec![format!("no threads for large exports: {e}")])?;
        let encoders = picture::encoder_config(&config);
        // A tenth of the cache at most for statistics, which are small and dear.
        let statistics = ByteLru::new((config.image_cache_bytes / 10).max(1 << 20));
        let workers = Arc::new(workers);
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
            opening: Opening::default(),
            pictures: ByteLru::new(config.image_cache_bytes),
            // Half of the room at most: tiles that have been used are pictures by then.
            joined: Arc::new(JoinedReads::new(config.image_cache_bytes / 2, workers.threads())),
            statistics,
            flights: Flights::new(),
            memcached,
            metrics: Metrics::default(),
            connections: OnceLock::new(),
            workers,
            exports,
            memory: Budget::new(config.render_memory_bytes),
            export_memory: Budget::new(config.render_memory_bytes / 2),
            transforms: Transforms::default(),
            watermark: RwLock::new(watermark.map(Arc::new)),
            replies: Replies::new(&config),
            listing: site::Listing::default(),
            started: Instant::now(),
            config,
        })
    }

    /// Reads the watermark again (one that cannot be read leaves the old one in force), drops all caches and
    /// closes all images.
    pub fn reload(&self) {
        if let Err(reason) = self.reload_watermark() {
            tracing::error!("{reason}; the former watermark stays in force");
        }
        self.clear();
    }

    /// Drops all caches and closes all images.
    pub fn clear(&self) {
        self.pictures.clear();
        self.joined.clear();
        self.statistics.clear();
        self.sequences.clear();
        self.listing.clear();
        self.handles.clear();
    }

    /// Says where connections are counted.
    pub fn count_connections(&self, connections: Connections) {
        // Only the first counts; there is one set of listeners.
        let _ = self.connections.set(connections);
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
            opening: &self.opening,
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
            Answer::Reply(response) => Ok(Ready::Reply(self.replies.plain(response, family), None)),
            Answer::Document { image, response } => Ok(Ready::Reply(
                self.replies.document(request, &image, response, family),
                None,
            )),
            Answer::Picture(picture) => {
                let prepared = self.prepare_picture(&picture)?;
                Ok(match self.known_reply(request, &prepared, family) {
                    Some((reply, origin)) => Ready::Reply(reply, Some(origin)),
                    None => Ready::Render(Box::new(prepared)),
                })
            }
            work => Ok(Ready::Work(Box::new(work))),
        }
    }

    /// The reply to a picture that needs no work: unchanged, or in the cache.
    fn known_reply(
        &self,
        request: &Request,
        prepared: &Prepared,
        family: Family,
    ) -> Option<(Response, Origin)> {
        if let Some(unchanged) = self.replies.unchanged(request, prepared, family) {
            return Some((unchanged, Origin::NotModified));
        }
        let picture = self.pictures.get(&prepared.key)?;
        let reply = self.replies.picture(request, prepared, &picture, family);
        Some((reply, Origin::Memory))
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

    /// The rest of a request that could not be answered at once.
    async fn work(
        self: Arc<Self>,
        route: Route,
        request: Arc<Request>,
        abandoned: Cancel,
    ) -> Result<Answered, Error> {
        let deadline = Instant::now() + self.config.limits.request_time;
        let scope = CallScope::new(deadline, abandoned.into_flag());
        let family = Family::of(&route);
        if matches!(route, Route::Unmatched) {
            return self
                .on_pool(Urgency::Tile, &scope, move |handler| Ok(handler.site().into()))
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
            Ready::Reply(response, origin) => Ok(Answered {
                origin,
                ..response.into()
            }),
            Ready::Render(prepared) => {
                let (made, rest) = self.make(&prepared, &scope).await?;
                let mut response = self.replies.picture(&request, &prepared, &made.picture, family);
                if response.status == 200 {
                    response.rest = rest;
                }
                Ok(Answered {
                    origin: Some(made.origin),
                    queued: made.queued,
                    worked: made.worked,
                    ..response.into()
                })
            }
            Ready::Work(answer) => {
                let job_scope = scope.clone();
                self.on_pool(Urgency::Export, &scope, move |handler| {
                    let response = handler.samples_or_tiles(*answer, &request, family, &job_scope)?;
                    Ok(response.into())
                })
                .await
            }
        }
    }

    /// The last thing done to a reply: it is counted, timed and logged.
    fn sent(&self, request: &Request, route: &Route, answered: Answered, time: Duration) -> Response {
        let response = self.told(answered, time);
        let bytes = response.body.len() as u64;
        self.count(request, route, response.status, bytes, time);
        response
    }

    /// [`sent`](Self::sent), for a reply that is sent while it is made: it is counted when it has ended.
    fn begun(
        self: Arc<Self>,
        request: Arc<Request>,
        route: Route,
        answered: Answered,
        start: Instant,
    ) -> Response {
        let mut response = self.told(answered, start.elapsed());
        let (status, beginning) = (response.status, response.body.len() as u64);
        response.rest = response.rest.map(|rest| {
            rest.at_end(move |bytes, _| {
                self.count(&request, &route, status, beginning + bytes, start.elapsed());
            })
        });
        response
    }

    fn count(&self, request: &Request, route: &Route, status: u16, bytes: u64, time: Duration) {
        let protocol = reply::protocol_of(route);
        self.metrics.replied(
            protocol,
            status,
            usize::try_from(bytes).unwrap_or(usize::MAX),
            time,
        );
        self.replies.log(request, status, bytes, time);
    }

    /// A reply that tells, if it is to, how it came about.
    fn told(&self, answered: Answered, time: Duration) -> Response {
        let Answered {
            mut response, origin, ..
        } = answered;
        if self.config.server_timing {
            let origin = origin.map_or("none", Origin::name);
            let millis = |time: Duration| time.as_secs_f64() * 1e3;
            let (queued, worked) = (millis(answered.queued), millis(answered.worked));
            let total = millis(time);
            response.push(
                "Server-Timing",
                format!(
                    "origin;desc={origin}, queue;dur={queued:.3}, make;dur={worked:.3}, total;dur={total:.3}"
                ),
            );
        }
        if let Some(origin) = origin {
            self.metrics.had_from(origin);
        }
        response
    }
}

/// A reply, and how it came about.
struct Answered {
    response: Response,
    origin: Option<Origin>,
    queued: Duration,
    worked: Duration,
}

impl From<Response> for Answered {
    fn from(response: Response) -> Self {
        Self {
            response,
            origin: None,
            queued: Duration::ZERO,
            worked: Duration::ZERO,
        }
    }
}

fn memcached_of(config: &Config) -> std::io::Result<Option<Memcached>> {
    let settings = &config.memcached;
    if settings.servers.is_empty() {
        return Ok(None);
    }
    for server in &settings.servers {
        tracing::info!(%server, "pictures are shared by memcached");
    }
    Memcached::start(settings.clone()).map(Some)
}

/// Watches the calls of the modules; render threads that they keep are replaced.
fn watch(registry: &Arc<Registry>, workers: &Arc<Workers>, request_time: Duration) -> std::io::Result<()> {
    let patience = Patience {
        // Requests that wait behind such a call still have most of their time.
        stall: (request_time / 4).clamp(Duration::from_millis(500), Duration::from_secs(5)),
        // As long again as the call was meant to take: a codec in C that does not look at the time is slow,
        // not dead.
        hang: request_time.clamp(Duration::from_secs(2), Duration::from_secs(60)),
    };
    let workers = workers.clone();
    registry.watch(patience, move |thread, overrun| {
        let loss = match overrun {
            Overrun::Stalls => Loss::ForNow,
            Overrun::Hangs => Loss::ForGood,
        };
        if let Err(error) = workers.give_up(thread, loss) {
            tracing::error!("{error}");
        }
    })
}

impl Service for Handler {
    fn try_answer(&self, request: &Request) -> Option<Response> {
        let start = Instant::now();
        let route = Route::of(request, &self.uri_map);
        let answered = match self.early(&route, request) {
            Some(response) => response.into(),
            None => match &route {
                Route::Unmatched => self.site_at_once(request)?.into(),
                route => match self.prepare(route, request, None) {
                    Ok(Ready::Reply(response, origin)) => Answered {
                        origin,
                        ..response.into()
                    },
                    Ok(Ready::Render(prepared)) => {
                        let picture = self.stored_at_once(&prepared)?;
                        let family = Family::of(route);
                        Answered {
                            origin: Some(Origin::Made),
                            ..self.replies.picture(request, &prepared, &picture, family).into()
                        }
                    }
                    Ok(Ready::Work(_)) | Err(Error::NeedsIo) => return None,
                    Err(error) => self.replies.failed(&error, request, Family::of(route)).into(),
                },
            },
        };
        Some(self.sent(request, &route, answered, start.elapsed()))
    }

    fn answer(self: Arc<Self>, request: Request, abandoned: Cancel) -> PendingResponse {
        Box::pin(async move {
            let start = Instant::now();
            let request = Arc::new(request);
            let route = Route::of(&request, &self.uri_map);
            let answered = match self.clone().work(route.clone(), request.clone(), abandoned).await {
                Ok(answered) => answered,
                Err(error) => self.replies.failed(&error, &request, Family::of(&route)).into(),
            };
            if answered.response.rest.is_some() {
                return self.begun(request, route, answered, start);
            }
            self.sent(&request, &route, answered, start.elapsed())
        })
    }

    fn refuse(&self, request: Option<&Request>, error: &Error) -> Response {
        let route = request.map(|request| Route::of(request, &self.uri_map));
        let family = route.as_ref().map_or(Family::Other, Family::of);
        let response = self.replies.error(error, family);
        match (request, route) {
            (Some(request), Some(route)) => self.sent(request, &route, response.into(), Duration::ZERO),
            _ => {
                let (status, bytes) = (response.status, response.body.len());
                self.metrics
                    .replied(Protocol::Host, status, bytes, Duration::ZERO);
                response
            }
        }
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
