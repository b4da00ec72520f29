//! Additional members of the image information document.

use serde_json::{Map, Value};

/// The value of `IIIF_EXTRA_INFO`: JSON members, as in `"partOf": […], "service": […]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExtraInfo {
    members: Map<String, Value>,
}

/// Members the host alone knows the truth about.
const RESERVED: [&str; 21] = [
    "@id",
    "@type",
    "id",
    "type",
    "protocol",
    "width",
    "height",
    "sizes",
    "tiles",
    "profile",
    "maxWidth",
    "maxHeight",
    "maxArea",
    "extraQualities",
    "extraFormats",
    "extraFeatures",
    "formats",
    "qualities",
    "scale_factors",
    "tile_width",
    "tile_height",
];

impl ExtraInfo {
    /// Parses a list of members without the braces around it.
    ///
    /// # Errors
    /// One sentence if it is no JSON, or sets a member that describes the image.
    pub fn parse(text: &str) -> Result<Self, String> {
        let members: Map<String, Value> = serde_json::from_str(&format!("{{{text}}}"))
            .map_err(|error| format!("not a list of JSON members such as \"a\": 1, \"b\": [2]: {error}"))?;
        match members.keys().find(|name| RESERVED.contains(&name.as_str())) {
            Some(name) => Err(format!("\"{name}\" is set by the server")),
            None => Ok(Self { members }),
        }
    }

    /// Adds the members to a document. `service` and `@context` join what is there, with the context of the
    /// Image API last as it demands; any other member replaces one of its name.
    pub(super) fn merge_into(&self, document: &mut Map<String, Value>) {
        for (name, value) in &self.members {
            let merged = match (name.as_str(), document.remove(name)) {
                ("service", Some(own)) => joined(own, value.clone()),
                ("@context", Some(own)) => joined(value.clone(), own),
                _ => value.clone(),
            };
            document.insert(name.clone(), merged);
        }
        // Some readers of JSON-LD want the context first.
        if let Some(context) = document.remove("@context") {
            document.shift_insert(0, "@context".to_owned(), context);
        }
    }
}

fn joined(first: Value, second: Value) -> Value {
    let list = |value| match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    let mut values = list(first);
    values.extend(list(second));
    Value::Array(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_validated() {
        assert_eq!(ExtraInfo::parse(""), Ok(ExtraInfo::default()));
        assert!(ExtraInfo::parse("\"preferredFormats\": [\"webp\"], \"a\": {\"b\": null}").is_ok());
        for text in [
            "\"a\": 1,",
            "a: 1",
            "\"a\"",
            "{\"a\": 1}",
            "\"a\": 1}, {\"b\": 2",
            "\"a\": 1} x",
            "]",
        ] {
            assert!(ExtraInfo::parse(text).is_err(), "{text}");
        }
        for text in ["\"width\": 1", "\"@id\": \"x\"", "\"tiles\": []"] {
            assert!(
                ExtraInfo::parse(text).unwrap_err().contains("set by the server"),
                "{text}"
            );
        }
    }

    #[test]
    fn members_join_replace_or_are_added() {
        let extra = ExtraInfo::parse(
            "\"@context\": [\"http://e.org/c\"], \"service\": {\"id\": 2}, \"rights\": \"b\", \"seeAlso\": []",
        )
        .unwrap();
        let Value::Object(mut document) =
            json!({ "@context": "c", "id": "i", "service": [{"id": 1}], "rights": "a" })
        else {
            panic!()
        };
        extra.merge_into(&mut document);
        assert_eq!(
            Value::Object(document.clone()),
            json!({
                "@context": ["http://e.org/c", "c"], "id": "i", "service": [{"id": 1}, {"id": 2}], "rights": "b",
                "seeAlso": [],
            })
        );
        assert_eq!(document.keys().next().map(String::as_str), Some("@context"));
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_accepted_or_refused(text in ".{0,60}") {
            let _ = ExtraInfo::parse(&text);
        }
    }
}
