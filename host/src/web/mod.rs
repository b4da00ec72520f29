//! The pages of the host itself: gallery, viewer, information page; all bundled, nothing fetched from
//! another host.

use bytes::Bytes;

/// A file of the web page.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Its HTTP name.
    pub media_type: &'static str,
    /// Its bytes.
    pub body: Bytes,
}

/// The file at a path, `None` if there is none.
#[must_use]
pub fn asset(path: &str) -> Option<Asset> {
    const HTML: &str = "text/html; charset=utf-8";
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let (media_type, body): (_, &'static [u8]) = match path {
        "/" => (HTML, include_bytes!("../../assets/index.html")),
        "/viewer.html" => (HTML, include_bytes!("../../assets/viewer.html")),
        "/style.css" => (
            "text/css; charset=utf-8",
            include_bytes!("../../assets/style.css"),
        ),
        "/gallery.js" => (SCRIPT, include_bytes!("../../assets/gallery.js")),
        "/viewer.js" => (SCRIPT, include_bytes!("../../assets/viewer.js")),
        "/openseadragon.js" => (
            SCRIPT,
            include_bytes!("../../assets/openseadragon/openseadragon.min.js"),
        ),
        _ => return None,
    };
    Some(Asset {
        media_type,
        body: Bytes::from_static(body),
    })
}

/// The reply to an empty request at the query endpoint.
#[must_use]
pub fn information_page() -> Bytes {
    const PAGE: &str = concat!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>iiphost</title></head>\n",
        "<body><h1>iiphost ",
        env!("CARGO_PKG_VERSION"),
        "</h1>\n<p>An image server for the Internet Imaging Protocol, IIIF, Deep Zoom and Zoomify.</p>\n",
        "</body></html>\n"
    );
    Bytes::from_static(PAGE.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_name_no_other_host() {
        for path in ["/", "/viewer.html", "/style.css", "/gallery.js", "/viewer.js"] {
            let asset = asset(path).unwrap();
            let text = std::str::from_utf8(&asset.body).unwrap();
            assert!(!text.contains("://"), "{path}");
        }
        assert!(asset("/nothing").is_none());
    }
}
