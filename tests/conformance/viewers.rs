//! Viewers of the public in a browser: OpenSeadragon over all its protocols, Leaflet with Leaflet-IIIF, Mirador.
//! What the browser shows at two scales is what the picture is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use support::chromium::Chromium;
use support::fixture::{Images, Layout, TiffFile};
use support::picture::Picture;
use support::server::Settings;
use support::{Server, built, image};

/// The size of the browser's page.
const PAGE: (u32, u32) = (800, 600);

/// The image: the page two and a half times.
const FULL: (u32, u32) = (2000, 1500);

/// A browser scales with a filter of its own and shows JPEG.
const SCREEN_DB: f64 = 33.0;

/// Where the packages of npm are.
fn packages() -> &'static Path {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let folder = built::scratch_folder().join("viewers");
        let script = built::repository().join("scripts/viewers.sh");
        let installed = Command::new(&script).arg(&folder).output();
        let installed = installed.unwrap_or_else(|e| panic!("{}: {e}", script.display()));
        assert!(
            installed.status.success(),
            "{}",
            String::from_utf8_lossy(&installed.stderr)
        );
        folder
    })
}

/// A host with one image, a browser, and a place for pages.
struct Stage {
    images: Images,
    picture: Picture,
    server: Server,
    browser: Chromium,
}

impl Stage {
    fn set() -> Self {
        let images = Images::new();
        let picture = Picture::photograph(FULL.0, FULL.1, 3, 3);
        images.add("photo.tif", &TiffFile::pyramid(&picture, Layout::default()));
        let server = Settings::new(images.folder())
            // Scripts ask for Deep Zoom documents from pages of other origins only with leave.
            .with("CORS", "*")
            .with("JPEG_QUALITY", "95")
            .start();
        Self {
            images,
            picture,
            server,
            browser: Chromium::start(PAGE.0, PAGE.1),
        }
    }

    fn address(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.http())
    }

    /// Opens a page of a head and a script, and waits.
    fn open(&mut self, head: &str, script: &str, ready: &str) {
        let page = format!(
            "<!doctype html><html><head><meta charset=\"utf-8\">{head}\
             <style>html,body,#view{{margin:0;width:100%;height:100%;background:#000;overflow:hidden}}</style>\
             </head><body><div id=\"view\"></div><script>{script}</script></body></html>"
        );
        self.images.write("page.html", page.as_bytes());
        let path = self.images.path("page.html");
        self.browser.open(&format!("file://{}", path.display()), ready);
    }

    /// Runs a script, waits for a condition, and until what it draws is on the screen.
    fn act(&mut self, script: &str, ready: &str) {
        let frames =
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))";
        let acted = self.browser.evaluate(&format!("(() => {{ {script} }})(); true"));
        assert_eq!(
            acted,
            true,
            "the script fails: {script}; {:#?}",
            self.browser.complaints()
        );
        assert_eq!(self.browser.evaluate(frames), true);
        self.browser.wait_until(ready);
        assert_eq!(self.browser.evaluate(frames), true);
    }

    /// The page shows a part of the picture, reduced to `size` as a whole; the part begins at `from` there, and
    /// in the page it is at `place`.
    fn assert_shown(&mut self, name: &str, size: (u32, u32), from: (u32, u32), place: (u32, u32, u32, u32)) {
        let (x, y, width, height) = place;
        let whole = self.browser.screenshot();
        let actual = whole.crop(x, y, width, height);
        let scaled = if size == FULL {
            self.picture.clone()
        } else {
            self.picture.resize(size.0, size.1)
        };
        let expected = scaled.crop(from.0, from.1, width, height);
        image::assert_close(name, &actual, &expected, SCREEN_DB);
    }
}

/// OpenSeadragon as the host has it in its own page.
fn open_seadragon(stage: &mut Stage, name: &str, source: &Value) {
    let script = stage.address("/openseadragon.js");
    stage.open(
        &format!("<script src=\"{script}\"></script>"),
        &format!(
            "viewer = OpenSeadragon({{ id: 'view', drawer: 'canvas', showNavigationControl: false, animationTime: 0, \
             blendTime: 0, immediateRender: true, visibilityRatio: 1, tileSources: [{source}] }}); \
             viewer.addHandler('open-failed', e => document.body.innerText = e.message); \
             viewer.addHandler('tile-load-failed', e => document.body.innerText = e.message); \
             loaded = () => viewer.world.getItemCount() === 1 && viewer.world.getItemAt(0).getFullyLoaded();"
        ),
        "window.loaded && loaded()",
    );
    stage.act("viewer.viewport.goHome(true); viewer.forceRedraw();", "loaded()");
    let (w, h) = PAGE;
    stage.assert_shown(&format!("{name} whole"), PAGE, (0, 0), (0, 0, w, h));
    stage.act(
        "const v = viewer.viewport; v.zoomTo(v.imageToViewportZoom(1), null, true); \
         v.panTo(v.imageToViewportCoordinates(1000, 750), true); viewer.forceRedraw();",
        "loaded()",
    );
    stage.assert_shown(&format!("{name} at its own size"), FULL, (600, 450), (0, 0, w, h));
    let asked = stage.browser.requested();
    assert!(
        asked.iter().filter(|url| url.contains("photo.tif")).count() > 12,
        "{name}: {asked:#?}"
    );
}

#[test]
fn openseadragon_shows_iiif_3() {
    let mut stage = Stage::set();
    let source = stage.address("/iiif/3/photo.tif/info.json");
    open_seadragon(&mut stage, "OpenSeadragon IIIF 3", &json!(source));
}

#[test]
fn openseadragon_shows_iiif_2() {
    let mut stage = Stage::set();
    let source = stage.address("/iiif/2/photo.tif/info.json");
    open_seadragon(&mut stage, "OpenSeadragon IIIF 2", &json!(source));
}

#[test]
fn openseadragon_shows_deep_zoom() {
    let mut stage = Stage::set();
    let source = stage.address("/deepzoom/photo.tif.dzi");
    open_seadragon(&mut stage, "OpenSeadragon Deep Zoom", &json!(source));
}

#[test]
fn openseadragon_shows_zoomify() {
    let mut stage = Stage::set();
    let source = json!({
        "type": "zoomifyservice",
        "width": FULL.0,
        "height": FULL.1,
        "tilesUrl": stage.address("/zoomify/photo.tif/"),
    });
    open_seadragon(&mut stage, "OpenSeadragon Zoomify", &source);
}

#[test]
fn leaflet_shows_both_versions() {
    for version in [2, 3] {
        let mut stage = Stage::set();
        let folder = packages().display();
        let info = stage.address(&format!("/iiif/{version}/photo.tif/info.json"));
        stage.open(
            &format!(
                "<link rel=\"stylesheet\" href=\"file://{folder}/leaflet/dist/leaflet.css\">\
                 <script src=\"file://{folder}/leaflet/dist/leaflet.js\"></script>\
                 <script src=\"file://{folder}/leaflet-iiif/leaflet-iiif.js\"></script>"
            ),
            &format!(
                "map = L.map('view', {{ crs: L.CRS.Simple, center: [0, 0], zoom: 0, zoomControl: false, \
                 attributionControl: false, fadeAnimation: false, zoomAnimation: false, inertia: false }}); \
                 layer = L.tileLayer.iiif('{info}'); layer.addTo(map); \
                 tiles = () => Array.from(document.querySelectorAll('img.leaflet-tile')); \
                 show = zoom => map.setView(map.options.crs.pointToLatLng( \
                     L.point(1000, 750).divideBy(2 ** (layer.maxNativeZoom - zoom)), zoom), zoom, {{ animate: false }}); \
                 loaded = () => tiles().length > 3 && !layer.isLoading() && tiles().every(t => t.naturalWidth > 0);"
            ),
            "window.loaded && loaded()",
        );
        assert_eq!(stage.browser.evaluate("layer.maxNativeZoom"), 3);
        let (w, h) = PAGE;
        stage.act("show(3)", "loaded()");
        stage.assert_shown(&format!("Leaflet IIIF {version}"), FULL, (600, 450), (0, 0, w, h));
        stage.act("show(2)", "loaded()");
        stage.assert_shown(
            &format!("Leaflet IIIF {version} half"),
            (1000, 750),
            (100, 75),
            (0, 0, w, h),
        );
    }
}

/// A manifest of one canvas (IIIF Presentation API 2.1 and 3.0) for an image.
fn manifest(version: u8, service: &str) -> Value {
    let (width, height) = FULL;
    let base = "http://manifest.test";
    if version == 2 {
        return json!({
            "@context": "http://iiif.io/api/presentation/2/context.json",
            "@id": format!("{base}/manifest"),
            "@type": "sc:Manifest",
            "label": "photo",
            "sequences": [{
                "@type": "sc:Sequence",
                "canvases": [{
                    "@id": format!("{base}/canvas"),
                    "@type": "sc:Canvas",
                    "label": "photo",
                    "width": width,
                    "height": height,
                    "images": [{
                        "@type": "oa:Annotation",
                        "motivation": "sc:painting",
                        "on": format!("{base}/canvas"),
                        "resource": {
                            "@id": format!("{service}/full/full/0/default.jpg"),
                            "@type": "dctypes:Image",
                            "format": "image/jpeg",
                            "width": width,
                            "height": height,
                            "service": {
                                "@context": "http://iiif.io/api/image/2/context.json",
                                "@id": service,
                                "profile": "http://iiif.io/api/image/2/level2.json",
                            },
                        },
                    }],
                }],
            }],
        });
    }
    json!({
        "@context": "http://iiif.io/api/presentation/3/context.json",
        "id": format!("{base}/manifest"),
        "type": "Manifest",
        "label": { "en": ["photo"] },
        "items": [{
            "id": format!("{base}/canvas"),
            "type": "Canvas",
            "width": width,
            "height": height,
            "items": [{
                "id": format!("{base}/page"),
                "type": "AnnotationPage",
                "items": [{
                    "id": format!("{base}/annotation"),
                    "type": "Annotation",
                    "motivation": "painting",
                    "target": format!("{base}/canvas"),
                    "body": {
                        "id": format!("{service}/full/max/0/default.jpg"),
                        "type": "Image",
                        "format": "image/jpeg",
                        "width": width,
                        "height": height,
                        "service": [{ "id": service, "type": "ImageService3", "profile": "level2" }],
                    },
                }],
            }],
        }],
    })
}

#[test]
fn mirador_shows_both_versions() {
    for version in [2, 3] {
        let mut stage = Stage::set();
        let service = stage.address(&format!("/iiif/{version}/photo.tif"));
        let manifest = manifest(version, &service).to_string();
        stage.open(
            &format!(
                "<script src=\"file://{}/mirador/dist/mirador.min.js\"></script>",
                packages().display()
            ),
            &format!(
                "manifest = 'data:application/json;charset=utf-8,' + encodeURIComponent({manifest:?}); \
                 mirador = Mirador.viewer({{ id: 'view', workspaceControlPanel: {{ enabled: false }}, \
                     windows: [{{ id: 'w', manifestId: manifest }}], \
                     window: {{ allowClose: false, allowMaximize: false, hideWindowTitle: true }}, \
                     osdConfig: {{ animationTime: 0, blendTime: 0, immediateRender: true, \
                         preserveImageSizeOnResize: false, drawer: 'canvas' }} }}); \
                 place = () => document.querySelector('.openseadragon-container').getBoundingClientRect(); \
                 show = scale => mirador.store.dispatch(Mirador.actions.updateViewport('w', \
                     {{ x: 1000, y: 750, zoom: scale / place().width }}));"
            ),
            "document.querySelector('.openseadragon-canvas canvas') && mirador.store.getState().viewers.w",
        );
        let place = stage
            .browser
            .evaluate("(r => [r.x, r.y, r.width, r.height])(place())");
        let place: Vec<u32> = place
            .as_array()
            .expect("a rectangle")
            .iter()
            .map(|n| n.as_f64().expect("a number").round() as u32)
            .collect();
        let [x, y, width, height] = place[..] else {
            panic!("a rectangle: {place:?}");
        };
        assert!(width > 600 && height > 400, "{place:?}");
        for (scale, size) in [(1.0, FULL), (0.5, (1000, 750))] {
            stage.act(&format!("show({scale})"), "true");
            let asked = stage.browser.requested().len();
            // Mirador shows no sign that it has all tiles: none is asked for any more, and all are there.
            let quiet = "new Promise(done => { let last = -1; const look = () => { \
                 const now = performance.getEntriesByType('resource').length; \
                 if (now === last) { done(true); } else { last = now; setTimeout(look, 500); } }; look(); })";
            assert_eq!(stage.browser.evaluate(quiet), true);
            assert!(asked > 1);
            // Buttons of Mirador lie over the lower part.
            let (inner_w, inner_h) = (width - 40, height - 160);
            let from = (size.0 / 2 - width / 2 + 20, size.1 / 2 - height / 2 + 20);
            let name = format!("Mirador IIIF {version} at {scale}");
            stage.assert_shown(&name, size, from, (x + 20, y + 20, inner_w, inner_h));
        }
    }
}
