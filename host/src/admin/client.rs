//! The side of `iiphost status` and `iiphost purge`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::Command;

/// How long the server may take: a purge waits for memcached.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the server that listens at a path.
///
/// # Errors
/// When nobody does, or the answer is an error.
pub fn ask(path: &Path, command: &Command) -> anyhow::Result<Value> {
    let place = || format!("{} (ADMIN_SOCKET)", path.display());
    let mut stream =
        UnixStream::connect(path).with_context(|| format!("no server answers at {}", place()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(command.line().as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).with_context(place)?;
    let reply: Value = serde_json::from_str(&reply).with_context(|| format!("not an answer: {reply:?}"))?;
    match reply.get("error").and_then(Value::as_str) {
        Some(error) => Err(anyhow::anyhow!("{error}")),
        None => Ok(reply),
    }
}

/// An answer for people: a line a value, names of what they belong to before it.
#[must_use]
pub fn text(value: &Value) -> String {
    let mut lines = String::new();
    write(value, "", &mut lines);
    lines
}

fn write(value: &Value, name: &str, lines: &mut String) {
    let inner = |part: &str| match (name, part) {
        ("", part) => part.to_owned(),
        (name, part) => format!("{name}.{part}"),
    };
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(part, value)| write(value, &inner(part), lines)),
        Value::Array(values) if values.is_empty() => lines.push_str(&format!("{name}: none\n")),
        Value::Array(values) => values.iter().for_each(|value| match value {
            // A line a module or server.
            Value::Object(members) => {
                let words: Vec<String> = members.values().map(plain).collect();
                lines.push_str(&format!("{name}: {}\n", words.join(" ")));
            }
            value => lines.push_str(&format!("{name}: {}\n", plain(value))),
        }),
        value => lines.push_str(&format!("{name}: {}\n", plain(value))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_readable() {
        let value = json!({
            "status": "ok",
            "trouble": [],
            "modules": [{ "id": "tiff", "state": "ready", "last_fault": null }],
            "cache": { "bytes": 5 },
        });
        assert_eq!(
            text(&value),
            "status: ok\ntrouble: none\nmodules: tiff ready -\ncache.bytes: 5\n"
        );
    }
}
