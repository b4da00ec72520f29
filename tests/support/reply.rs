//! A reply as a client sees it, whatever it came over.

use crate::picture::Picture;

/// Status, header fields and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Header fields in the order received.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A reply of a header block, with or without a first line, and a body.
    ///
    /// # Panics
    /// When the block is no HTTP or CGI header.
    #[must_use]
    pub fn parse(head: &[u8], body: Vec<u8>) -> Self {
        let text = std::str::from_utf8(head).expect("a header of text");
        let mut status = 200;
        let mut headers = Vec::new();
        for (number, line) in text.split("\r\n").filter(|l| !l.is_empty()).enumerate() {
            if number == 0 && line.starts_with("HTTP/1.") {
                let code = line.split(' ').nth(1).and_then(|s| s.parse().ok());
                status = code.unwrap_or_else(|| panic!("no status line: {line:?}"));
                continue;
            }
            let (name, value) = line
                .split_once(':')
                .unwrap_or_else(|| panic!("no header field: {line:?} in {text:?}"));
            assert!(!name.is_empty() && !name.contains(' '), "no field name: {line:?}");
            if name.eq_ignore_ascii_case("status") {
                let code = value.trim().split(' ').next().and_then(|s| s.parse().ok());
                status = code.unwrap_or_else(|| panic!("no status: {line:?}"));
                continue;
            }
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Self {
            status,
            headers,
            body,
        }
    }

    /// The value of a header field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// The value of a header field that must be there.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.header(name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {:?}", self.text()))
    }

    /// The body as a picture.
    ///
    /// # Panics
    /// When the status is not 200, or the body is no JPEG or PNG of the announced type.
    #[must_use]
    pub fn picture(&self) -> Picture {
        assert_eq!(
            self.status,
            200,
            "{:?}",
            String::from_utf8_lossy(&self.body[..self.body.len().min(300)])
        );
        match self.field("Content-Type") {
            "image/jpeg" => Picture::from_jpeg(&self.body),
            "image/png" => Picture::from_png(&self.body),
            other => panic!("a picture of type {other}"),
        }
    }

    /// The same reply, if it has this status.
    ///
    /// # Panics
    /// When it has not.
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{:?} {:?}",
            self.headers,
            String::from_utf8_lossy(&self.body[..self.body.len().min(300)])
        );
        self
    }
}
