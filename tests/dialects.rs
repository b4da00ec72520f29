//! FastCGI as the web servers write it that no package of the distribution can be had of, and as those write
//! it that can: their records, their parameters, their way to end a request.

use std::net::SocketAddr;
use std::path::Path;

use support::fastcgi::{FastCgi, RESPONDER, begin, kind, pairs, record};
use support::fixture::Images;
use support::{Reply, Server};

/// What a client of the web server asked.
struct Asked<'a> {
    method: &'a str,
    /// The path as the client sent it, and the same decoded.
    path: &'a str,
    decoded: &'a str,
    query: &'a str,
    body: &'a [u8],
}

type Parameters = Vec<(&'static str, String)>;

/// How a web server speaks FastCGI.
struct Dialect {
    name: &'static str,
    parameters: fn(&Asked<'_>) -> Parameters,
    /// The number it gives a request.
    id: u16,
    /// Asks for the connection to be kept.
    keep: bool,
    /// A record for each parameter, or one for all of them.
    record_for_each: bool,
    /// Fills records up to a multiple of eight.
    pads: bool,
    /// Bytes of a body in a record.
    body_record: usize,
    /// Ends the body with an empty record even if there is none.
    ends_no_body: bool,
    /// Can forward addresses that name no file, with their encoded slashes.
    has_paths: bool,
}

/// What Apache gives every program it runs (its CGI variables); `REQUEST_URI` is what the client sent,
/// `PATH_INFO` is decoded.
fn apache(asked: &Asked<'_>) -> Parameters {
    let Asked {
        path, decoded, query, ..
    } = asked;
    let script = if path.starts_with("/iiif") {
        "/iiif"
    } else {
        "/fcgi-bin/iipsrv.fcgi"
    };
    let mut list = vec![
        ("HTTP_HOST", "images.test".to_owned()),
        ("HTTP_USER_AGENT", "Mozilla/5.0".into()),
        ("HTTP_ACCEPT", "image/avif,image/webp,*/*;q=0.8".into()),
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
        ),
        ("SERVER_SIGNATURE", String::new()),
        ("SERVER_SOFTWARE", "Apache/2.2.22 (Unix) mod_fastcgi/2.4.6".into()),
        ("SERVER_NAME", "images.test".into()),
        ("SERVER_ADDR", "127.0.0.1".into()),
        ("SERVER_PORT", "80".into()),
        ("REMOTE_ADDR", "127.0.0.1".into()),
        ("DOCUMENT_ROOT", "/var/www".into()),
        ("SERVER_ADMIN", "[no address given]".into()),
        ("SCRIPT_FILENAME", "/var/www/fcgi-bin/iiphost".into()),
        ("REMOTE_PORT", "40000".into()),
        ("GATEWAY_INTERFACE", "CGI/1.1".into()),
        ("SERVER_PROTOCOL", "HTTP/1.1".into()),
        ("REQUEST_METHOD", asked.method.to_owned()),
        ("QUERY_STRING", (*query).to_owned()),
        ("REQUEST_URI", with_query(path, query)),
        ("SCRIPT_NAME", script.into()),
    ];
    if let Some(rest) = decoded.strip_prefix(script).filter(|rest| !rest.is_empty()) {
        list.push(("PATH_INFO", rest.to_owned()));
        list.push(("PATH_TRANSLATED", format!("/var/www{rest}")));
    }
    list.extend(body_parameters(asked));
    list
}

/// lighttpd: an empty `CONTENT_LENGTH` is 0, `SCRIPT_NAME` is empty for an entry "/" with fix-root-scriptname.
fn lighttpd(asked: &Asked<'_>) -> Parameters {
    vec![
        ("CONTENT_LENGTH", asked.body.len().to_string()),
        ("QUERY_STRING", asked.query.into()),
        ("REQUEST_URI", with_query(asked.path, asked.query)),
        ("REDIRECT_STATUS", "200".into()),
        ("SCRIPT_NAME", String::new()),
        ("PATH_INFO", asked.decoded.into()),
        ("PATH_TRANSLATED", format!("/var/www{}", asked.decoded)),
        ("SCRIPT_FILENAME", "/var/www".into()),
        ("DOCUMENT_ROOT", "/var/www".into()),
        ("REQUEST_METHOD", asked.method.into()),
        ("SERVER_PROTOCOL", "HTTP/1.1".into()),
        ("SERVER_SOFTWARE", "lighttpd/1.4.69".into()),
        ("GATEWAY_INTERFACE", "CGI/1.1".into()),
        ("REQUEST_SCHEME", "http".into()),
        ("SERVER_PORT", "80".into()),
        ("SERVER_ADDR", "127.0.0.1".into()),
        ("SERVER_NAME", "images.test".into()),
        ("REMOTE_ADDR", "127.0.0.1".into()),
        ("HTTP_HOST", "images.test".into()),
    ]
}

/// IIS 7 and later: many variables without a value, `HTTPS` that is `off`, `PATH_INFO` with the script in it.
fn iis(asked: &Asked<'_>) -> Parameters {
    let mut list = vec![
        ("_FCGI_X_PIPE_", "\\\\.\\pipe\\IISFCGI-1b2c".to_owned()),
        ("SERVER_SOFTWARE", "Microsoft-IIS/10.0".into()),
        ("SERVER_PROTOCOL", "HTTP/1.1".into()),
        ("SERVER_PORT_SECURE", "0".into()),
        ("SERVER_PORT", "80".into()),
        ("SERVER_NAME", "images.test".into()),
        ("SCRIPT_NAME", asked.decoded.into()),
        (
            "SCRIPT_FILENAME",
            "C:\\inetpub\\wwwroot\\fcgi-bin\\iipsrv.fcgi".into(),
        ),
        ("REQUEST_URI", with_query(asked.path, asked.query)),
        ("REQUEST_METHOD", asked.method.into()),
        ("REMOTE_USER", String::new()),
        ("REMOTE_HOST", "127.0.0.1".into()),
        ("REMOTE_ADDR", "127.0.0.1".into()),
        ("QUERY_STRING", asked.query.into()),
        (
            "PATH_TRANSLATED",
            "C:\\inetpub\\wwwroot\\fcgi-bin\\iipsrv.fcgi".into(),
        ),
        ("PATH_INFO", asked.decoded.into()),
        ("LOGON_USER", String::new()),
        ("HTTPS_SERVER_SUBJECT", String::new()),
        ("HTTPS", "off".into()),
        ("GATEWAY_INTERFACE", "CGI/1.1".into()),
        ("CONTENT_TYPE", String::new()),
        ("CONTENT_LENGTH", asked.body.len().to_string()),
        ("AUTH_TYPE", String::new()),
        ("HTTP_HOST", "images.test".into()),
        ("HTTP_ACCEPT", "*/*".into()),
    ];
    list.retain(|(name, value)| *name != "CONTENT_TYPE" || !value.is_empty());
    list
}

/// IIS 6 and its like: nothing holds the address as the client sent it.
fn iis_without_request_uri(asked: &Asked<'_>) -> Parameters {
    let mut list = iis(asked);
    list.retain(|(name, _)| *name != "REQUEST_URI");
    list
}

/// GNU MyServer: `REQUEST_URI` has no query, every name of the script is the same, `SSL` in the place of `HTTPS`.
fn myserver(asked: &Asked<'_>) -> Parameters {
    vec![
        ("SERVER_SOFTWARE", "GNU MyServer 0.9 (Unknown)".into()),
        ("REDIRECT_STATUS", "TRUE".into()),
        ("SERVER_NAME", "images.test".into()),
        ("SERVER_SIGNATURE", "<address>GNU MyServer 0.9</address>".into()),
        ("SERVER_PROTOCOL", "HTTP/1.1".into()),
        ("SERVER_PORT", "80".into()),
        ("SERVER_ADMIN", String::new()),
        ("REQUEST_METHOD", asked.method.into()),
        ("REQUEST_URI", asked.path.into()),
        ("QUERY_STRING", asked.query.into()),
        ("GATEWAY_INTERFACE", "CGI/1.1".into()),
        ("CONTENT_LENGTH", asked.body.len().to_string()),
        ("CGI_ROOT", String::new()),
        ("REMOTE_ADDR", "127.0.0.1".into()),
        ("REMOTE_USER", String::new()),
        ("SSL", "OFF".into()),
        ("PATH_TRANSLATED", "/var/www/fcgi-bin/iipsrv.fcgi".into()),
        ("SCRIPT_FILENAME", "/var/www/fcgi-bin/iipsrv.fcgi".into()),
        ("SCRIPT_NAME", asked.path.into()),
        ("SCRIPT_URL", asked.path.into()),
        ("DOCUMENT_ROOT", "/var/www".into()),
        ("DOCUMENT_URI", asked.path.into()),
        ("AUTH_TYPE", String::new()),
        ("HTTP_HOST", "images.test".into()),
        ("HTTP_ACCEPT_ENCODING", "gzip".into()),
    ]
}

/// The servlet of jFastCGI: `REQUEST_URI` without the query, no `SCRIPT_NAME`, the length of a body twice.
fn jfastcgi(asked: &Asked<'_>) -> Parameters {
    let mut list = vec![
        ("REQUEST_URI", asked.path.to_owned()),
        ("REQUEST_METHOD", asked.method.into()),
        ("SERVER_SOFTWARE", "org.jfastcgi.client.FastCGIHandler".into()),
        ("SERVER_NAME", "images.test".into()),
        ("SERVER_PORT", "80".into()),
        ("REMOTE_ADDR", "127.0.0.1".into()),
        ("REMOTE_HOST", "127.0.0.1".into()),
        ("REMOTE_USER", String::new()),
        ("GATEWAY_INTERFACE", "CGI/1.1".into()),
        ("SERVER_PROTOCOL", "HTTP/1.1".into()),
        ("QUERY_STRING", asked.query.into()),
        ("PATH_INFO", asked.decoded.into()),
        ("PATH_TRANSLATED", "/opt/tomcat/webapps/ROOT".into()),
        ("SCRIPT_FILENAME", "/opt/tomcat/webapps/ROOT".into()),
        ("CONTENT_LENGTH", asked.body.len().to_string()),
        ("DOCUMENT_ROOT", "/opt/tomcat/webapps/ROOT".into()),
        ("HTTP_HOST", "images.test".into()),
        ("HTTP_ACCEPT", "*/*".into()),
    ];
    list.extend(body_parameters(asked));
    list
}

fn with_query(path: &str, query: &str) -> String {
    match query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

fn body_parameters(asked: &Asked<'_>) -> Parameters {
    if asked.body.is_empty() {
        return Vec::new();
    }
    vec![
        ("CONTENT_LENGTH", asked.body.len().to_string()),
        ("CONTENT_TYPE", "application/x-www-form-urlencoded".into()),
    ]
}

const DIALECTS: [Dialect; 7] = [
    Dialect {
        name: "Apache mod_fastcgi",
        parameters: apache,
        id: 1,
        keep: false,
        record_for_each: true,
        pads: false,
        body_record: 8184,
        ends_no_body: true,
        has_paths: true,
    },
    Dialect {
        name: "Apache mod_fcgid",
        parameters: apache,
        id: 1,
        keep: true,
        record_for_each: false,
        pads: true,
        body_record: 8192,
        ends_no_body: true,
        has_paths: true,
    },
    Dialect {
        name: "lighttpd",
        parameters: lighttpd,
        id: 1,
        keep: false,
        record_for_each: false,
        pads: false,
        body_record: 65_535,
        ends_no_body: true,
        has_paths: true,
    },
    Dialect {
        name: "IIS",
        parameters: iis,
        id: 1,
        keep: true,
        record_for_each: false,
        pads: true,
        body_record: 8192,
        ends_no_body: true,
        has_paths: true,
    },
    Dialect {
        name: "IIS without REQUEST_URI",
        parameters: iis_without_request_uri,
        id: 1,
        keep: true,
        record_for_each: false,
        pads: true,
        body_record: 8192,
        ends_no_body: true,
        has_paths: false,
    },
    Dialect {
        name: "GNU MyServer",
        parameters: myserver,
        id: 5,
        keep: false,
        record_for_each: false,
        pads: false,
        body_record: 8192,
        ends_no_body: true,
        has_paths: false,
    },
    Dialect {
        name: "jFastCGI",
        parameters: jfastcgi,
        id: 1,
        keep: false,
        record_for_each: true,
        pads: false,
        body_record: 4096,
        ends_no_body: false,
        has_paths: true,
    },
];

impl Dialect {
    /// A record the way this web server fills it.
    fn record(&self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = record(kind, self.id, content);
        if !self.pads {
            bytes.truncate(8 + content.len());
            bytes[6] = 0;
        }
        bytes
    }

    fn request(&self, asked: &Asked<'_>) -> Vec<u8> {
        let parameters = (self.parameters)(asked);
        let mut bytes = begin(self.id, RESPONDER, self.keep);
        if self.record_for_each {
            for pair in parameters {
                bytes.extend(self.record(kind::PARAMS, &pairs(&[pair])));
            }
        } else {
            bytes.extend(self.record(kind::PARAMS, &pairs(&parameters)));
        }
        bytes.extend(self.record(kind::PARAMS, b""));
        for part in asked.body.chunks(self.body_record) {
            bytes.extend(self.record(kind::STDIN, part));
        }
        if self.ends_no_body || !asked.body.is_empty() {
            bytes.extend(self.record(kind::STDIN, b""));
        }
        bytes
    }

    /// Asks over a connection of its own, or over one that is kept.
    fn ask(&self, connection: &mut Option<FastCgi>, to: &To<'_>, asked: &Asked<'_>) -> Reply {
        let mut used = connection.take().unwrap_or_else(|| to.connect());
        let bytes = self.request(asked);
        if self.ends_no_body {
            used.send(&bytes);
        } else {
            // Written in the pieces a stream without a buffer makes of it.
            bytes.chunks(3).for_each(|piece| used.send(piece));
        }
        let ended = used.finish(self.id);
        assert_eq!((ended.app_status, ended.protocol_status), (0, 0), "{}", self.name);
        if self.keep {
            *connection = Some(used);
        } else if self.ends_no_body {
            used.assert_closed();
        }
        ended
            .reply
            .unwrap_or_else(|| panic!("{} got no reply", self.name))
    }
}

enum To<'a> {
    Tcp(SocketAddr),
    Unix(&'a Path),
}

impl To<'_> {
    fn connect(&self) -> FastCgi {
        match self {
            Self::Tcp(address) => FastCgi::tcp(*address),
            Self::Unix(path) => FastCgi::unix(path),
        }
    }
}

#[test]
fn every_web_server_gets_what_a_direct_client_gets() {
    let (images, _) = Images::with_photo();
    images.write("sub/photo.tif", &std::fs::read(images.path("photo.tif")).unwrap());
    let server = Server::start(images.folder());
    let http = server.client();
    let endpoint = "/fcgi-bin/iipsrv.fcgi";
    let long = format!("FIF=photo.tif&JTL=3,5&{}", "x".repeat(300));
    let long_body = format!("FIF=photo.tif&{}&JTL=3,6", "x".repeat(20_000));
    let query = |query| Asked {
        method: "GET",
        path: endpoint,
        decoded: endpoint,
        query,
        body: b"",
    };
    let path = |path, decoded| Asked {
        method: "GET",
        path,
        decoded,
        query: "",
        body: b"",
    };
    let post = |body| Asked {
        method: "POST",
        path: endpoint,
        decoded: endpoint,
        query: "",
        body,
    };
    let all = [
        query("FIF=photo.tif&OBJ=Max-size"),
        query("FIF=photo.tif&JTL=3,0"),
        query("FIF=sub/photo.tif&WID=300&CVT=JPEG"),
        query("FIF=nothing.tif&JTL=0,0"),
        query("IIIF=sub%2Fphoto.tif/full/100,/0/default.jpg"),
        query(&long),
        post(b"FIF=photo.tif&OBJ=Max-size".as_slice()),
        post(long_body.as_bytes()),
        path(
            "/iiif/3/photo.tif/full/100,/0/default.jpg",
            "/iiif/3/photo.tif/full/100,/0/default.jpg",
        ),
        path(
            "/iiif/3/sub%2Fphoto.tif/0,0,64,64/max/0/default.png",
            "/iiif/3/sub/photo.tif/0,0,64,64/max/0/default.png",
        ),
        path(
            "/iiif/3/sub%2Fphoto.tif/info.json",
            "/iiif/3/sub/photo.tif/info.json",
        ),
    ];
    for dialect in &DIALECTS {
        let socket = server.socket();
        for to in [To::Tcp(server.fastcgi()), To::Unix(&socket)] {
            let mut connection = None;
            for asked in &all {
                if asked.path != endpoint && !dialect.has_paths {
                    continue;
                }
                let what = format!("{}: {} {}", dialect.name, asked.path, asked.query);
                let reply = dialect.ask(&mut connection, &to, asked);
                if asked.path.ends_with("info.json") {
                    let id = reply.expect(200).json()["id"].clone();
                    assert_eq!(id, "http://images.test/iiif/3/sub%2Fphoto.tif", "{what}");
                    continue;
                }
                let target = with_query(asked.path, asked.query);
                let direct = match asked.method {
                    "POST" => http.post(&target, asked.body),
                    _ => http.get(&target),
                };
                assert_eq!(reply.status, direct.status, "{what}");
                assert!(reply.body == direct.body, "{what}");
                assert_eq!(reply.header("ETag"), direct.header("ETag"), "{what}");
            }
        }
    }
}

#[test]
fn a_hundred_requests_without_an_end_of_the_body_leave_no_connection_behind() {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    let jfastcgi = DIALECTS.iter().find(|d| !d.ends_no_body).unwrap();
    let to = To::Tcp(server.fastcgi());
    let asked = Asked {
        method: "GET",
        path: "/fcgi-bin/iipsrv.fcgi",
        decoded: "/fcgi-bin/iipsrv.fcgi",
        query: "FIF=photo.tif&OBJ=Max-size",
        body: b"",
    };
    for _ in 0..100 {
        let reply = jfastcgi.ask(&mut None, &to, &asked);
        assert_eq!(reply.text(), "Max-size:1000 700\r\n");
    }
    // The client has closed each of them.
    support::wait::until("all but the standing descriptors are closed", || {
        (server.open_descriptors() < 60).then_some(())
    });
}
