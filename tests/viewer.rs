//! Gallery and viewer in a browser: what is asked for, and what is seen.

use support::Server;
use support::chromium::Chromium;
use support::fixture::{Images, Layout, TiffFile};
use support::image::assert_close;
use support::picture::Picture;

/// Two losses: JPEG of quality 75 with colors at half the resolution, and a browser that scales with its
/// own filter.
const SCALED_DB: f64 = 30.0;

/// Only the loss of JPEG.
const UNSCALED_DB: f64 = 33.0;

/// All tiles are there and nothing moves any more.
const SETTLED: &str = "window.viewer && viewer.isOpen() && viewer.world.getItemAt(0).getFullyLoaded() \
     && Math.abs(viewer.viewport.getZoom(true) - viewer.viewport.getZoom(false)) < 1e-9";

#[test]
fn the_gallery_shows_the_images() {
    let (images, photo) = Images::with_photo();
    let grey = Picture::photograph(300, 400, 1, 1);
    images.add("sub/grey & co.tif", &TiffFile::pyramid(&grey, Layout::default()));
    images.write("broken.tif", b"no image");
    let server = Server::start(images.folder());
    let mut browser = Chromium::start(900, 600);
    let page = format!("http://{}/", server.http());
    browser.open(&page, "document.querySelectorAll('.card').length === 3");
    browser.wait_until("[...document.images].every(i => i.complete && i.naturalWidth > 0)");
    browser.wait_until("[...document.querySelectorAll('.facts')].every(f => f.textContent)");
    let text = browser.evaluate("document.body.innerText");
    let text = text.as_str().unwrap();
    for part in [
        "photo.tif",
        "sub/grey & co.tif",
        "1000 × 700",
        "300 × 400",
        "broken.tif",
        "cannot be shown",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // The thumbnail on the page is the picture.
    let place = browser.evaluate(
        "(() => { const r = [...document.images].find(i => i.src.includes('photo.tif')).getBoundingClientRect(); \
          return [r.x, r.y, r.width, r.height].map(Math.round); })()",
    );
    let [x, y, width, height] = numbers(&place);
    let shown = browser.screenshot().crop(x, y, width, height);
    assert_close("thumbnail", &shown, &photo.resize(width, height), 26.0);
    let requested = browser.requested();
    assert!(
        requested
            .iter()
            .all(|url| url.starts_with(&page) || url.starts_with("data:")),
        "{requested:?}"
    );
    let log = server.log();
    assert!(
        log.contains("/iiif/3/photo.tif/full/!480,360/0/default.jpg"),
        "{log}"
    );
}

#[test]
fn the_viewer_shows_the_picture_whole_and_pixel_by_pixel() {
    let images = Images::new();
    let picture = Picture::photograph(2000, 1400, 3, 2);
    images.add("large.tif", &TiffFile::pyramid(&picture, Layout::default()));
    let server = Server::start(images.folder());
    let mut browser = Chromium::start(800, 600);
    let page = format!("http://{}/", server.http());
    browser.open(&format!("{page}viewer.html#large.tif"), SETTLED);
    let mut place = view(&mut browser);
    if place[3] % 2 == 1 {
        // An even height, so that the middle of the picture lies between two pixels of the screen.
        browser.resize(800, 601);
        place = view(&mut browser);
        browser.wait_until(&format!("viewer.viewport.getContainerSize().y === {}", place[3]));
    }
    browser.evaluate("viewer.navigator.element.style.display = 'none'");
    let [x, y, width, height] = place;

    // The whole picture, as large as it fits, in the middle.
    browser.evaluate("void viewer.viewport.goHome(true)");
    browser.wait_until(SETTLED);
    let scale = (f64::from(width) / 2000.0).min(f64::from(height) / 1400.0);
    let (w, h) = ((2000.0 * scale).round() as u32, (1400.0 * scale).round() as u32);
    let shown = shot(&mut browser).crop(x + (width - w) / 2, y + (height - h) / 2, w, h);
    assert_close("whole", &shown, &picture.resize(w, h), SCALED_DB);
    let home = tiles(&server);
    assert!(!home.is_empty(), "tiles were asked for");

    // One pixel of the picture on one of the screen, around its middle.
    browser.evaluate("document.getElementById('one-to-one').click()");
    browser.wait_until(&format!(
        "{SETTLED} && viewer.viewport.viewportToImageZoom(viewer.viewport.getZoom(true)) > 0.9999"
    ));
    let shown = shot(&mut browser).crop(x, y, width, height);
    let expected = picture.crop(1000 - width / 2, 700 - height / 2, width, height);
    assert_close("one to one", &shown, &expected, UNSCALED_DB);
    let more = tiles(&server);
    let full: Vec<_> = more
        .iter()
        .filter(|t| !home.contains(t) && t.contains("/256,256/"))
        .collect();
    assert!(
        full.len() >= 6,
        "tiles of the full size were asked for: {more:#?}"
    );

    assert!(
        browser
            .evaluate("document.getElementById('error').hidden")
            .as_bool()
            == Some(true)
    );
    let loaded = browser.evaluate("window.tilesLoaded").as_u64().unwrap();
    assert!(loaded >= more.len() as u64, "{loaded} of {}", more.len());
    let requested = browser.requested();
    assert!(
        requested
            .iter()
            .all(|url| url.starts_with(&page) || url.starts_with("data:")),
        "{requested:?}"
    );
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

#[test]
fn the_viewer_says_what_cannot_be_shown() {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    let mut browser = Chromium::start(600, 400);
    let page = format!("http://{}/viewer.html#nothing.tif", server.http());
    browser.open(&page, "!document.getElementById('error').hidden");
    let text = browser.evaluate("document.getElementById('error').textContent");
    assert!(text.as_str().unwrap().contains("could not be opened"), "{text}");
}

fn numbers(value: &serde_json::Value) -> [u32; 4] {
    let list = value.as_array().unwrap_or_else(|| panic!("no list: {value}"));
    std::array::from_fn(|n| list[n].as_u64().unwrap() as u32)
}

/// Where the picture is shown on the page: x, y, width, height.
fn view(browser: &mut Chromium) -> [u32; 4] {
    let place = browser.evaluate(
        "(() => { const r = document.getElementById('view').getBoundingClientRect(); \
          return [r.x, r.y, r.width, r.height].map(Math.round); })()",
    );
    numbers(&place)
}

/// The page after the browser has drawn what it knows.
fn shot(browser: &mut Chromium) -> Picture {
    browser.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))",
    );
    browser.screenshot()
}

/// Tiles that were asked for and given, by the access log.
fn tiles(server: &Server) -> Vec<String> {
    let log = server.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("/iiif/3/large.tif/") && line.contains("default.jpg"));
    lines
        .filter(|line| line.contains("status=200"))
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("/iiif/")))
        .map(str::to_owned)
        .collect()
}
