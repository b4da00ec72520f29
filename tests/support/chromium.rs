//! A browser without a window, told what to do over the DevTools protocol.
//!
//! The protocol runs over two pipes (`--remote-debugging-pipe`): messages of JSON, each ended by a NUL.
//! That needs neither a port nor a driver program.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::picture::Picture;
use crate::wait;
use crate::web_server::program;

/// A browser takes its time to start on a small machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running browser with one page; it ends with this value.
#[derive(Debug)]
pub struct Chromium {
    child: Child,
    commands: Option<ChildStdin>,
    messages: Receiver<Value>,
    events: Vec<Value>,
    last_id: u64,
    session: String,
    // Removed after the browser has ended.
    _profile: TempDir,
}

impl Chromium {
    /// Starts a browser with a page of a size in pixels.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder");
        // The browser reads commands from descriptor 3 and writes to 4; the shell puts them there.
        let mut child = Command::new("/bin/sh")
            .args([
                "-c",
                r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null"#,
                "sh",
            ])
            .arg(program("chromium"))
            .args([
                "--headless",
                "--remote-debugging-pipe",
                // The sandbox refuses to run as root, as which tests run in containers.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-extensions",
                "--force-color-profile=srgb",
                "--hide-scrollbars",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the browser can be started");
        let commands = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in output.split(0) {
                let Ok(bytes) = message else { break };
                let value = serde_json::from_slice(&bytes).expect("the browser speaks JSON");
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            commands,
            messages,
            events: Vec::new(),
            last_id: 0,
            session: String::new(),
            _profile: profile,
        };
        let page = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        browser.ask("Page.enable", json!({}));
        browser.ask("Network.enable", json!({}));
        browser.ask("Runtime.enable", json!({}));
        browser.resize(width, height);
        browser
    }

    /// Gives the page another size in pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size);
    }

    /// Sends a command and waits for its result.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let commands = self.commands.as_mut().expect("an open pipe");
        commands.write_all(&bytes).expect("the browser reads commands");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self
                .messages
                .recv_timeout(left)
                .unwrap_or_else(|e| panic!("the browser does not answer {method}: {e}"));
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    /// Opens a page and waits until its script gives true for a condition.
    ///
    /// # Panics
    /// When it never does.
    pub fn open(&mut self, url: &str, ready: &str) {
        let opened = self.ask("Page.navigate", json!({ "url": url }));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        self.wait_until(ready);
    }

    /// Waits until a script gives true.
    ///
    /// # Panics
    /// When it never does; the message has the text of the page.
    pub fn wait_until(&mut self, condition: &str) {
        let reached = wait::within(PATIENCE, || {
            (self.evaluate(&format!("Boolean({condition})")) == Value::Bool(true)).then_some(())
        });
        if reached.is_none() {
            let text = self.evaluate("document.body.innerText");
            panic!(
                "never true: {condition}; the page says {text}; {:#?}",
                self.complaints()
            );
        }
    }

    /// The value of a script; a promise is waited for.
    ///
    /// # Panics
    /// When the script throws.
    pub fn evaluate(&mut self, script: &str) -> Value {
        let params = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let result = self.ask("Runtime.evaluate", params);
        let thrown = &result["exceptionDetails"];
        // While a page is being replaced there is nothing to ask.
        if thrown.is_null() {
            result["result"]["value"].clone()
        } else {
            Value::Null
        }
    }

    /// What the page shows.
    #[must_use]
    pub fn screenshot(&mut self) -> Picture {
        let shot = self.ask("Page.captureScreenshot", json!({ "format": "png" }));
        let data = shot["data"].as_str().expect("a picture");
        Picture::from_png(&decode_base64(data)).rgb()
    }

    /// Addresses of everything the page asked for so far.
    #[must_use]
    pub fn requested(&self) -> Vec<String> {
        let asked = self
            .events
            .iter()
            .filter(|e| e["method"] == "Network.requestWillBeSent");
        asked
            .filter_map(|e| e["params"]["request"]["url"].as_str().map(str::to_owned))
            .collect()
    }

    /// Errors the page reported.
    #[must_use]
    pub fn complaints(&self) -> Vec<Value> {
        let is_complaint = |event: &&Value| {
            event["method"] == "Runtime.exceptionThrown" || event["method"] == "Network.loadingFailed"
        };
        self.events.iter().filter(is_complaint).cloned().collect()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // A browser whose pipe is closed ends itself and all its processes.
        self.commands = None;
        if wait::within(Duration::from_secs(10), || self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Base 64 (RFC 4648, section 4).
fn decode_base64(text: &str) -> Vec<u8> {
    let value = |digit: u8| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} is no digit of base 64"),
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four
            .iter()
            .fold(0u32, |bits, &digit| bits << 6 | u32::from(value(digit)));
        let bits = bits << (6 * (4 - four.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    bytes
}
