//! From a request to a document, a picture or a redirect.

use super::accept::Accept;
use super::address::{Wanted, recognize};
use super::id::Site;
use super::parse::{Grammar, Parameters};
use super::rights::rights;
use super::{IiifSettings, Target, info, link, view};
use crate::error::Error;
use crate::plan::picture_limits;
use crate::protocol::base::Base;
use crate::protocol::{Answer, Images, LinkRule, OpenedImage, Picture, PictureKind};
use crate::server::{Method, Request, Response};

/// Answers a request.
///
/// # Errors
/// 400 for syntax, 404 for an unknown image or page, 500 for a document whose `id` nothing tells, and what
/// [`Images::open`] gives.
pub fn answer<S: Images>(
    target: &Target,
    request: &Request,
    images: &S,
    settings: &IiifSettings,
    base: &Base,
) -> Result<Answer<S::Image>, Error> {
    let version = target.version.unwrap_or(settings.version);
    let text = target.argument.text();
    let grammar = Grammar {
        version,
        extensions: settings.extensions,
        formats: &settings.formats,
    };
    let wanted = recognize(&text, grammar);
    let site = Site::of(request, settings.base_url.as_deref(), &settings.trusted_proxies)?;
    let call = Call {
        target,
        request,
        images,
        settings,
        base,
        site,
    };
    match wanted {
        Wanted::Information { identifier } => call.information(identifier),
        Wanted::Picture {
            identifier,
            parameters,
        } => call.picture(identifier, &parameters, version),
        Wanted::Base {
            identifier,
            complaint,
        } => call.redirect(identifier, complaint),
    }
}

/// One request and everything it is judged by.
struct Call<'a, S> {
    target: &'a Target,
    request: &'a Request,
    images: &'a S,
    settings: &'a IiifSettings,
    base: &'a Base,
    site: Site<'a>,
}

impl<S: Images> Call<'_, S> {
    fn information(&self, identifier: &[u8]) -> Result<Answer<S::Image>, Error> {
        let (image, page_idx) = self.open(identifier)?;
        let accept = Accept::of(self.request);
        let target = self.negotiated(&accept, identifier);
        let target = target.as_ref().unwrap_or(self.target);
        let version = target.version.unwrap_or(self.settings.version);
        let id = self.id(target, identifier)?;
        let page = image.info().page(page_idx);
        let limits = picture_limits(page.size(), &self.settings.limits);
        let rights = rights(image.info(), self.settings.copyright.as_deref());
        let document = info::document(version, &id, page, limits, rights.as_deref(), self.settings);
        let response = Response::new(200)
            .with("Content-Type", accept.information_type(version))
            .with("Vary", "Accept")
            .with("Link", link::profile(version))
            .body(document);
        Ok(Answer::Document { image, response })
    }

    /// The endpoint of another version, if the client asks for that version and the endpoint exists. Its
    /// pictures then follow its rules, because the document sends the client there.
    fn negotiated(&self, accept: &Accept, identifier: &[u8]) -> Option<Target> {
        let wanted = accept.version()?;
        if self.target.version.is_some() || wanted == self.settings.version || !self.site.can_name_endpoints()
        {
            return None;
        }
        let from_query = self.target.argument.from_query;
        // In a query `+` may mean a space, in a path never.
        if from_query && identifier.contains(&b'+') {
            return None;
        }
        let mount = self
            .settings
            .uri_map
            .fixed_endpoint(wanted, self.request.transport, !from_query)?;
        Some(Target::of_path(Some(wanted), mount, identifier))
    }

    fn picture(
        &self,
        identifier: &[u8],
        parameters: &Parameters,
        version: u8,
    ) -> Result<Answer<S::Image>, Error> {
        let (image, page_idx) = self.open(identifier)?;
        let format = parameters
            .format
            .unwrap_or_else(|| Accept::of(self.request).picture_format(&self.settings.formats));
        let quality = view::canonical_quality(parameters.quality, image.info().page(page_idx), version);
        let link = LinkRule {
            id: self.site.base_uri(self.target, identifier).unwrap_or_default(),
            version,
            quality,
            vary_accept: parameters.format.is_none(),
        };
        let attachment = self.base.attachment || self.request.method == Method::Post;
        Ok(Answer::Picture(Box::new(Picture {
            image,
            view: view::view(parameters, version, page_idx, format, self.base),
            kind: PictureKind::Export { attachment },
            link: Some(link),
        })))
    }

    fn redirect(&self, identifier: &[u8], complaint: Option<Error>) -> Result<Answer<S::Image>, Error> {
        match self.open(identifier) {
            Ok(_) => {
                let id = self.id(self.target, identifier)?;
                let reply = Response::new(303).with("Location", format!("{id}/info.json"));
                Ok(Answer::Reply(reply))
            }
            Err(not_found @ Error::NotFound { .. }) => Err(complaint.unwrap_or(not_found)),
            Err(error) => Err(error),
        }
    }

    fn id(&self, target: &Target, identifier: &[u8]) -> Result<String, Error> {
        self.site.base_uri(target, identifier).ok_or_else(|| {
            Error::fault(
                "iiif",
                "the request tells neither host nor path, so BASE_URL must be set",
            )
        })
    }

    /// Opens an image and, with a page number behind its identifier, finds that page.
    fn open(&self, encoded: &[u8]) -> Result<(S::Image, usize), Error> {
        let identifiers = self.target.argument.identifiers(encoded, true);
        if identifiers
            .iter()
            .all(|identifier| identifier.iter().all(|&b| b == b'/'))
        {
            return Err(Error::not_found("no image named"));
        }
        for identifier in &identifiers {
            let Some((name, number)) = split_page(identifier, self.settings.delimiter.as_bytes()) else {
                continue;
            };
            match self.images.open(&[name.to_vec()]) {
                Ok(image) => return self.page(&image, number),
                // The number may be part of a name.
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let image = self.images.open(&identifiers)?;
        self.base.select(self.images, &image)
    }

    fn page(&self, image: &S::Image, number: i64) -> Result<(S::Image, usize), Error> {
        // An image with a single view is that view at every angle, but it has no other pages.
        let exists = image.horizontal_views().len() > 1
            || usize::try_from(number).is_ok_and(|number| number < image.info().pages.len());
        if !exists {
            return Err(Error::not_found(format!("no page {number}")));
        }
        self.images.view(image, number, None)
    }
}

/// The identifier before the last delimiter and the number behind it.
fn split_page<'a>(identifier: &'a [u8], delimiter: &[u8]) -> Option<(&'a [u8], i64)> {
    if delimiter.is_empty() {
        return None;
    }
    let at = identifier
        .windows(delimiter.len())
        .rposition(|window| window == delimiter)?;
    let (name, number) = identifier.split_at_checked(at)?;
    let number = number.strip_prefix(delimiter)?;
    if name.is_empty() || number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(number).ok()?;
    // A number that does not fit is no page of any image.
    Some((name, number.parse().unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::limits::{Limits, Size};
    use crate::plan;
    use crate::protocol::fake::{FakeImages, iiif_settings, page_of, request, test_images};
    use crate::protocol::uri_map::UriMap;
    use crate::server::Transport;
    use crate::view::{Frame, OutputFormat, RegionSpec, SizeSpec, View};

    type Got = Answer<<FakeImages as Images>::Image>;

    fn ask_with(
        settings: &IiifSettings,
        version: Option<u8>,
        argument: &str,
        accept: &str,
    ) -> Result<Got, Error> {
        let mount = version.map_or("iiif".to_owned(), |version| format!("iiif/{version}"));
        let mut request = request(&format!("/{mount}/{argument}"));
        if !accept.is_empty() {
            request.headers.push(("accept".into(), accept.into()));
        }
        let target = Target::of_path(version, mount, argument);
        answer(&target, &request, &test_images(), settings, &Base::default())
    }

    fn ask(argument: &str) -> Result<Got, Error> {
        ask_with(&iiif_settings(), None, argument, "")
    }

    /// Status, and where a redirect leads or the document's `id`.
    fn outcome(argument: &str) -> (u16, String) {
        match ask(argument) {
            Ok(Answer::Reply(reply)) => (
                reply.status,
                reply.header("Location").unwrap_or_default().to_owned(),
            ),
            Ok(Answer::Document { response, .. }) => {
                let document: Value = serde_json::from_slice(&response.body).unwrap();
                (response.status, document["id"].as_str().unwrap().to_owned())
            }
            Ok(Answer::Picture(picture)) => (200, picture.link.unwrap().id),
            Ok(other) => panic!("{other:?}"),
            Err(error) => (error.status(), String::new()),
        }
    }

    const HOST: &str = "http://images.example.org/iiif/";

    #[test]
    fn every_form_of_a_path_has_its_reply() {
        for (argument, status, rest) in [
            ("test.tif/info.json", 200, "test.tif"),
            ("dir%2Fa%20b.tif/info.json", 200, "dir%2Fa%20b.tif"),
            ("dir/a%20b.tif/info.json", 200, "dir/a%20b.tif"),
            ("dir%252Fa%2520b.tif/info.json", 200, "dir%252Fa%2520b.tif"),
            ("a+b.tif/info.json", 200, "a+b.tif"),
            ("a%2Bb.tif/info.json", 200, "a%2Bb.tif"),
            ("a%252Bb.tif/info.json", 200, "a%252Bb.tif"),
            ("p%25ct.tif/info.json", 200, "p%25ct.tif"),
            ("%C3%A9.tif/info.json", 200, "%C3%A9.tif"),
            ("t%65st%2Etif/info.json", 200, "t%65st%2Etif"),
            ("test.tif/full/max/0/default.jpg", 200, "test.tif"),
            ("test.tif", 303, "test.tif/info.json"),
            ("test.tif/", 303, "test.tif/info.json"),
            ("dir%2Fa%20b.tif", 303, "dir%2Fa%20b.tif/info.json"),
            ("dir/a%20b.tif", 303, "dir/a%20b.tif/info.json"),
            ("x.tif/full", 303, "x.tif/full/info.json"),
        ] {
            assert_eq!(outcome(argument), (status, format!("{HOST}{rest}")), "{argument}");
        }
        for (argument, status) in [
            ("nope.tif/info.json", 404),
            ("nope.tif/full/max/0/default.jpg", 404),
            ("a%2Fb/info.json", 404),
            ("nope.tif", 404),
            ("test.tif//", 404),
            ("test.tif/info", 404),
            ("test.tif/info.xml", 404),
            ("info.json", 404),
            ("/info.json", 404),
            ("//full/max/0/default.jpg", 404),
            ("test.tif/max/0/default.jpg", 404),
            ("test.tif/bad/max/0/default.jpg", 400),
            ("nope.tif/bad/max/0/default.jpg", 400),
            ("nope.tif/full/full/0/default.jpg", 400),
            ("test.tif/full//200,/0/default.jpg", 400),
            ("test.tif/full/200,/0/default.jpg/extra", 400),
            ("test.tif/full/200,/0/default.jpg/", 400),
            ("test.tif/full/max/0/default", 400),
            ("te%00st.tif/info.json", 400),
            ("broken.tif/info.json", 500),
            ("broken.tif", 500),
            ("broken.tif/bad/max/0/default.jpg", 400),
        ] {
            assert_eq!(outcome(argument).0, status, "{argument}");
        }
    }

    fn view_of(version: u8, parameters: &str) -> Option<View> {
        match ask_with(
            &iiif_settings(),
            Some(version),
            &format!("test.tif/{parameters}"),
            "",
        ) {
            Ok(Answer::Picture(picture)) => {
                assert_eq!(picture.kind, PictureKind::Export { attachment: false });
                Some(picture.view)
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert_eq!(error.status(), 400, "{parameters}");
                None
            }
        }
    }

    #[test]
    fn pictures_follow_the_version_of_their_endpoint() {
        for (parameters, v3, v2) in [
            ("full/max/0/default.jpg", true, true),
            ("full/full/0/default.jpg", false, true),
            ("square/max/0/default.jpg", true, true),
            ("full/^max/0/default.jpg", true, false),
            ("full/500,/90/gray.png", true, true),
            ("full/^2000,/0/default.jpg", true, false),
            ("full/!2000,2000/0/default.jpg", true, true),
            ("full/^!6000,6000/0/default.jpg", true, false),
            ("full/pct:50/0/default.jpg", true, true),
            ("0,0,200,700/max/0/default.jpg", true, true),
            ("999,699,50,50/max/0/default.jpg", true, true),
            ("-10,0,100,100/max/0/default.jpg", false, false),
            ("0,0,256,256/256,256/180/default.jpg", true, true),
            ("full/200,/!180/default.jpg", true, true),
            ("full/200,/45/default.jpg", true, true),
            ("full/200,/0/default.tif", true, true),
            ("full/pct:101/0/default.jpg", false, true),
            ("full/max/0/native.jpg", true, true),
        ] {
            assert_eq!(view_of(3, parameters).is_some(), v3, "{parameters}");
            assert_eq!(view_of(2, parameters).is_some(), v2, "{parameters}");
        }
        let view = view_of(3, "0,0,256,256/^,100/!90/gray.webp").unwrap();
        let Frame::Export { region, size, .. } = view.frame else {
            panic!()
        };
        assert_eq!(
            region,
            RegionSpec::Pixels {
                x: 0,
                y: 0,
                width: 256,
                height: 256
            }
        );
        assert_eq!(size, SizeSpec::Height(100));
        assert_eq!(view.output.format, OutputFormat::WebP);
    }

    fn document(
        settings: &IiifSettings,
        version: Option<u8>,
        argument: &str,
        accept: &str,
    ) -> (Response, Value) {
        match ask_with(settings, version, argument, accept) {
            Ok(Answer::Document { response, .. }) => {
                let value = serde_json::from_slice(&response.body).unwrap();
                (response, value)
            }
            other => panic!("{argument}: {other:?}"),
        }
    }

    const ASK_2: &str = "application/ld+json;profile=\"http://iiif.io/api/image/2/context.json\"";

    #[test]
    fn documents_carry_type_profile_and_vary() {
        let (response, _) = document(&iiif_settings(), None, "test.tif/info.json", "");
        assert_eq!(
            response.header("Content-Type"),
            Some("application/ld+json;profile=\"http://iiif.io/api/image/3/context.json\"")
        );
        assert_eq!(response.header("Vary"), Some("Accept"));
        assert_eq!(
            response.header("Link"),
            Some("<http://iiif.io/api/image/3/level2.json>;rel=\"profile\"")
        );
        let (response, value) = document(&iiif_settings(), Some(2), "test.tif/info.json", "");
        assert_eq!(response.header("Content-Type"), Some("application/json"));
        assert_eq!(value["@id"], "http://images.example.org/iiif/2/test.tif");
        let (response, _) = document(
            &iiif_settings(),
            Some(2),
            "test.tif/info.json",
            "application/ld+json",
        );
        assert!(
            response
                .header("Content-Type")
                .unwrap()
                .starts_with("application/ld+json")
        );
    }

    #[test]
    fn another_version_is_given_where_it_has_an_endpoint() {
        let (response, value) = document(&iiif_settings(), None, "dir%2Fa%20b.tif/info.json", ASK_2);
        assert_eq!(value["@id"], "http://images.example.org/iiif/2/dir%2Fa%20b.tif");
        assert_eq!(value["@context"], "http://iiif.io/api/image/2/context.json");
        assert!(
            response
                .header("Content-Type")
                .unwrap()
                .contains("image/2/context.json")
        );
        assert!(response.header("Link").unwrap().contains("/2/level2.json"));

        let (_, value) = document(&iiif_settings(), Some(3), "test.tif/info.json", ASK_2);
        assert_eq!(value["id"], "http://images.example.org/iiif/3/test.tif");

        let alone = IiifSettings {
            uri_map: UriMap::parse("iiif=>IIIF").0,
            ..iiif_settings()
        };
        let (_, value) = document(&alone, None, "test.tif/info.json", ASK_2);
        assert_eq!(value["id"], "http://images.example.org/iiif/test.tif");

        let mapped = IiifSettings {
            uri_map: UriMap::parse("iiif=>IIIF,old=>IIIF2").0,
            base_url: Some("https://b.org/img/".into()),
            ..iiif_settings()
        };
        let (_, value) = document(&mapped, None, "test.tif/info.json", ASK_2);
        assert_eq!(value["@id"], "https://b.org/old/test.tif");
        let (_, value) = document(&mapped, None, "test.tif/info.json", "");
        assert_eq!(value["id"], "https://b.org/img/test.tif");
    }

    #[test]
    fn accept_never_changes_a_picture_of_versions_2_and_3() {
        let upscaled = "test.tif/full/^2000,/0/default.jpg";
        assert!(ask_with(&iiif_settings(), None, upscaled, ASK_2).is_ok());
        let Ok(Answer::Picture(picture)) = ask_with(&iiif_settings(), None, upscaled, "image/png") else {
            panic!()
        };
        assert_eq!(picture.view.output.format, OutputFormat::Jpeg);
        assert!(!picture.link.unwrap().vary_accept);
    }

    #[test]
    fn version_1_has_its_own_document_and_formats_by_accept() {
        let first = IiifSettings {
            version: 1,
            ..iiif_settings()
        };
        let (response, value) = document(&first, None, "test.tif/info.json", "application/ld+json");
        assert_eq!(response.header("Content-Type"), Some("application/json"));
        assert!(
            response
                .header("Link")
                .unwrap()
                .contains("1.1/compliance.html#level2")
        );
        assert_eq!(value["tile_width"], 256);
        let picture = |argument: &str, accept| match ask_with(&first, None, argument, accept) {
            Ok(Answer::Picture(picture)) => picture,
            other => panic!("{other:?}"),
        };
        let chosen = picture("test.tif/full/full/0/native", "image/png");
        assert_eq!(chosen.view.output.format, OutputFormat::Png);
        let link = chosen.link.unwrap();
        assert_eq!(
            (link.version, link.quality, link.vary_accept),
            (1, "native", true)
        );
        let named = picture("test.tif/full/full/0/grey.jpg", "image/png");
        assert_eq!(named.view.output.format, OutputFormat::Jpeg);
        assert!(!named.link.unwrap().vary_accept);
        let silent = picture("test.tif/full/full/0/native", "");
        assert_eq!(silent.view.output.format, OutputFormat::Jpeg);
    }

    #[test]
    fn a_delimiter_selects_pages() {
        for delimiter in [":", "::", "page="] {
            let settings = IiifSettings {
                delimiter: delimiter.into(),
                ..iiif_settings()
            };
            let id = |page: &str| format!("stack.tif{delimiter}{page}");
            for (page, width, height) in [("0", 1000, 700), ("1", 600, 400), ("002", 100, 200)] {
                let (_, value) = document(&settings, None, &format!("{}/info.json", id(page)), "");
                assert_eq!(
                    (value["width"].as_u64(), value["height"].as_u64()),
                    (Some(width), Some(height))
                );
                assert_eq!(value["id"], format!("{HOST}{}", id(page)));
            }
            let picture = ask_with(
                &settings,
                None,
                &format!("{}/full/max/0/default.jpg", id("2")),
                "",
            );
            assert!(matches!(picture, Ok(Answer::Picture(picture)) if picture.view.page == 2));
            for page in ["3", "99999999999999999999", "x", "", "-1", "1x"] {
                let reply = ask_with(&settings, None, &format!("{}/info.json", id(page)), "");
                assert_eq!(reply.unwrap_err().status(), 404, "{page}");
            }
            for argument in ["test.tif/info.json", "stack.tif/info.json"] {
                assert_eq!(document(&settings, None, argument, "").1["width"], 1000);
            }
            let single = ask_with(&settings, None, &format!("test.tif{delimiter}5/info.json"), "");
            assert_eq!(single.unwrap_err().status(), 404);
        }
        let off = ask_with(&iiif_settings(), None, "stack.tif:1/info.json", "");
        assert_eq!(off.unwrap_err().status(), 404);
        let mut images = test_images();
        let page = page_of(&[(10, 10)], Size::new(256, 256));
        images.add("img_001", vec![page], &[]);
        let settings = IiifSettings {
            delimiter: "_".into(),
            ..iiif_settings()
        };
        let named = answer(
            &Target::of_path(None, "iiif", "img_001/info.json"),
            &request("/"),
            &images,
            &settings,
            &Base::default(),
        );
        assert!(named.is_ok());
    }

    #[test]
    fn rights_come_from_the_image_or_the_settings() {
        let settings = IiifSettings {
            copyright: Some("https://creativecommons.org/licenses/by/4.0/".into()),
            ..iiif_settings()
        };
        let rights = |argument| document(&settings, None, argument, "").1["rights"].clone();
        assert_eq!(
            rights("stack.tif/info.json"),
            "https://rightsstatements.org/vocab/InC/1.0/"
        );
        assert_eq!(
            rights("test.tif/info.json"),
            "https://creativecommons.org/licenses/by/4.0/"
        );
        assert_eq!(
            document(&iiif_settings(), None, "test.tif/info.json", "")
                .1
                .get("rights"),
            None
        );
    }

    fn query(value: &str, method: Method, base: &Base) -> Result<Got, Error> {
        let mut request = request("/cgi");
        request.transport = Transport::FastCgi;
        request.method = method;
        answer(
            &Target::of_query(value),
            &request,
            &test_images(),
            &iiif_settings(),
            base,
        )
    }

    #[test]
    fn values_of_a_query_are_read_like_paths() {
        let id = |value: &str| match query(value, Method::Get, &Base::default()) {
            Ok(Answer::Document { response, .. }) => serde_json::from_slice::<Value>(&response.body).unwrap()
                ["id"]
                .as_str()
                .unwrap()
                .to_owned(),
            Ok(Answer::Reply(reply)) => reply.header("Location").unwrap().to_owned(),
            other => panic!("{value}: {other:?}"),
        };
        for (value, expected) in [
            ("test.tif/info.json", "test.tif"),
            ("test.tif/info.json?x=1", "test.tif"),
            ("test.tif%2Finfo.json", "test.tif"),
            ("a+b.tif/info.json", "a+b.tif"),
            ("dir/a+b.tif/info.json", "dir/a+b.tif"),
            ("test.tif", "test.tif/info.json"),
        ] {
            assert_eq!(
                id(value),
                format!("http://images.example.org/cgi?IIIF={expected}"),
                "{value}"
            );
        }
        let Ok(Answer::Picture(posted)) = query(
            "test.tif/full/50,/0/default.jpg?t=1",
            Method::Post,
            &Base::default(),
        ) else {
            panic!()
        };
        assert_eq!(posted.kind, PictureKind::Export { attachment: true });
    }

    #[test]
    fn settings_of_a_query_are_kept() {
        let base = Base {
            processing: crate::view::Processing {
                invert: true,
                ..crate::view::Processing::NONE
            },
            views: Some((2, None)),
            quality_layers: 4,
            ..Base::default()
        };
        let Ok(Answer::Picture(picture)) = query("stack.tif/full/50,/0/gray.jpg", Method::Get, &base) else {
            panic!()
        };
        assert!(picture.view.processing.invert);
        assert_eq!(picture.view.processing.color_mode, crate::view::ColorMode::Grey);
        assert_eq!((picture.view.page, picture.view.quality_layers), (2, 4));
    }

    #[test]
    fn a_request_without_host_and_path_has_pictures_but_no_documents() {
        let mut request = request("");
        request.headers.clear();
        let ask = |value: &str, settings: &IiifSettings| {
            answer(
                &Target::of_query(value),
                &request,
                &test_images(),
                settings,
                &Base::default(),
            )
        };
        let Ok(Answer::Picture(picture)) = ask("test.tif/full/50,/0/default.jpg", &iiif_settings()) else {
            panic!()
        };
        assert_eq!(picture.link.unwrap().id, "");
        for value in ["test.tif/info.json", "test.tif"] {
            assert_eq!(ask(value, &iiif_settings()).unwrap_err().status(), 500);
            let based = IiifSettings {
                base_url: Some("https://b.org/".into()),
                ..iiif_settings()
            };
            assert!(ask(value, &based).is_ok());
        }
    }

    /// The size of the picture a version 2 or 3 request gives.
    fn planned(
        images: &FakeImages,
        settings: &IiifSettings,
        version: u8,
        parameters: &str,
    ) -> Result<Size, Error> {
        let argument = format!("x/{parameters}");
        let target = Target::of_path(Some(version), "iiif", argument);
        match answer(&target, &request("/"), images, settings, &Base::default())? {
            Answer::Picture(picture) => {
                let page = picture.image.info().page(picture.view.page);
                Ok(plan::plan(&picture.view, page, &settings.limits)?.size)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Asks for every size, and for the tiles at the borders of every scale factor, that a document offers,
    /// computed as the Image API 3.0 section 5.4 does.
    fn offers_hold(full: (u32, u32), levels: &[(u32, u32)], tile: (u32, u32), settings: &IiifSettings) {
        let mut images = FakeImages::default();
        images.add("x", vec![page_of(levels, Size::new(tile.0, tile.1))], &[]);
        for version in [2, 3] {
            let target = Target::of_path(Some(version), "iiif", "x/info.json");
            let Ok(Answer::Document { response, .. }) =
                answer(&target, &request("/"), &images, settings, &Base::default())
            else {
                panic!()
            };
            let document: Value = serde_json::from_slice(&response.body).unwrap();
            let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
            for size in document
                .get("sizes")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let size = Size::new(number(&size["width"]), number(&size["height"]));
                let text = format!("full/{},{}/0/default.jpg", size.width, size.height);
                assert_eq!(planned(&images, settings, version, &text).unwrap(), size);
            }
            let offered = &document["tiles"][0];
            let (tile_width, tile_height) = (number(&offered["width"]), number(&offered["height"]));
            for factor in offered["scaleFactors"].as_array().unwrap().iter().map(number) {
                let ends = |full: u32, tile: u32| [0, full.div_ceil(tile * factor) - 1];
                for col in ends(full.0, tile_width) {
                    for row in ends(full.1, tile_height) {
                        let (x, y) = (col * tile_width * factor, row * tile_height * factor);
                        let width = (tile_width * factor).min(full.0 - x);
                        let height = (tile_height * factor).min(full.1 - y);
                        let size = Size::new(width.div_ceil(factor), height.div_ceil(factor));
                        let text = format!(
                            "{x},{y},{width},{height}/{},{}/0/default.jpg",
                            size.width, size.height
                        );
                        assert_eq!(
                            planned(&images, settings, version, &text).unwrap(),
                            size,
                            "{text}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_the_document_of_an_odd_image_offers_is_given() {
        for (full, levels, tile) in [
            ((1, 1), &[(1, 1)][..], (256, 256)),
            ((255, 257), &[(255, 257), (127, 128)], (256, 256)),
            ((1023, 769), &[(1023, 769), (511, 384), (255, 192)], (256, 256)),
            (
                (1, 20000),
                &[(1, 20000), (1, 10000), (1, 5000), (1, 2500), (1, 1250)],
                (256, 256),
            ),
            ((999, 699), &[(999, 699), (333, 233), (111, 77)], (240, 128)),
        ] {
            offers_hold(full, levels, tile, &iiif_settings());
            let limits = Limits {
                max_export_side: Some(100),
                ..Limits::default()
            };
            offers_hold(
                full,
                levels,
                tile,
                &IiifSettings {
                    limits,
                    ..iiif_settings()
                },
            );
            let limits = Limits {
                max_output_pixels: 1000,
                ..Limits::default()
            };
            offers_hold(
                full,
                levels,
                tile,
                &IiifSettings {
                    limits,
                    ..iiif_settings()
                },
            );
        }
    }

    proptest! {
        #[test]
        fn what_a_document_offers_is_given(
            width in 1_u32..20_000,
            height in 1_u32..20_000,
            tile_width in 16_u32..1024,
            tile_height in 16_u32..1024,
            steps in 0_usize..8,
            ceil: bool,
        ) {
            let levels: Vec<_> = std::iter::successors(Some((width, height)), |&(w, h)| {
                let half = |side: u32| if ceil { side.div_ceil(2) } else { (side / 2).max(1) };
                Some((half(w), half(h)))
            })
            .take(steps + 1)
            .collect();
            offers_hold((width, height), &levels, (tile_width, tile_height), &iiif_settings());
        }

        #[test]
        fn arbitrary_bytes_are_answered(raw: Vec<u8>, from_query: bool, version in proptest::option::of(2_u8..=3)) {
            let target = Target { version, mount: "iiif".into(), argument: crate::protocol::argument::Argument { raw, from_query } };
            let settings = IiifSettings { delimiter: "_".into(), ..iiif_settings() };
            let _ = answer(&target, &request("/iiif/x"), &test_images(), &settings, &Base::default());
        }
    }
}
