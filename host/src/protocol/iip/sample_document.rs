//! The documents of `PFL` and `SPECTRA`, made from samples.

use std::fmt::Write;

use crate::protocol::SampleDocument;
use crate::server::Response;

use super::describe::json_string;
use super::number_text::significant;

/// Samples of one view.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewSamples {
    /// Name of the view.
    pub name: String,
    /// Factor from stored values to physical ones.
    pub scale: f64,
    /// Significant bits of a stored integer.
    pub bit_depth: u32,
    /// The values, bands interleaved.
    pub values: SampleValues,
}

/// Sample values as stored.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValues {
    /// Integers, signed ones with their sign.
    Integers(Vec<i64>),
    /// Floating-point numbers.
    Reals(Vec<f64>),
}

/// The reply that lists the samples of all views.
#[must_use]
pub fn sample_reply(document: SampleDocument, views: &[ViewSamples]) -> Response {
    let (media_type, body) = match document {
        SampleDocument::Profile => ("application/json", profile(views)),
        SampleDocument::Spectrum => ("application/xml", spectrum(views)),
    };
    Response::new(200).with("Content-Type", media_type).body(body)
}

/// The profile: a list for a single view, else an object with a list for each.
fn profile(views: &[ViewSamples]) -> String {
    if let [view] = views {
        return format!("{{\n\t\"profile\": {}\n}}", list(view));
    }
    let lists: Vec<String> = views
        .iter()
        .map(|view| format!("\t\t{}: {}", json_string(view.name.as_bytes()), list(view)))
        .collect();
    format!("{{\n\t\"profile\": {{\n{}\n\t}}\n}}", lists.join(",\n"))
}

/// The values of a view as a JSON list.
fn list(view: &ViewSamples) -> String {
    let texts: Vec<String> = match &view.values {
        SampleValues::Integers(values) if view.scale == 1.0 => values.iter().map(i64::to_string).collect(),
        // Twelve digits hold the product of any 32-bit integer and a factor without the noise of binary
        // fractions (0.3, not 0.30000000000000004).
        SampleValues::Integers(values) => values
            .iter()
            .map(|value| json_number(*value as f64 * view.scale, |v| significant(v, 12)))
            .collect(),
        SampleValues::Reals(values) => values
            .iter()
            .map(|value| json_number(value * view.scale, |v| format!("{v:.9}")))
            .collect(),
    };
    format!("[{}]", texts.join(","))
}

/// A number, or `null` for one that JSON does not have.
fn json_number(value: f64, print: impl Fn(f64) -> String) -> String {
    if value.is_finite() {
        print(value)
    } else {
        "null".to_owned()
    }
}

/// The spectrum: a point for the first value of each view, integers as part of full scale.
fn spectrum(views: &[ViewSamples]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<spectra>\n");
    for view in views {
        let Some(reflectance) = reflectance(view) else {
            continue;
        };
        // Writing to a string cannot fail.
        let _ = write!(
            xml,
            "\t<point>\n\t\t<wavelength>{}</wavelength>\n\t\t<reflectance>{}</reflectance>\n\t</point>\n",
            xml_text(&view.name),
            xml_number(reflectance)
        );
    }
    xml.push_str("</spectra>");
    xml
}

/// The first value of a view, scaled.
fn reflectance(view: &ViewSamples) -> Option<f64> {
    let value = match &view.values {
        SampleValues::Integers(values) => {
            let full_scale = 2f64.powi(i32::try_from(view.bit_depth.clamp(1, 32)).unwrap_or(32)) - 1.0;
            *values.first()? as f64 / full_scale
        }
        SampleValues::Reals(values) => *values.first()?,
    };
    Some(value * view.scale)
}

/// A number with six decimals, or the name XML Schema has for what is none (part 2, section 3.3.5).
fn xml_number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "INF" } else { "-INF" }.to_owned()
    } else {
        format!("{value:.6}")
    }
}

/// Character data of XML 1.0 (section 2.4), without the control characters it cannot hold.
fn xml_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integers(name: &str, bit_depth: u32, scale: f64, values: &[i64]) -> ViewSamples {
        ViewSamples {
            name: name.to_owned(),
            scale,
            bit_depth,
            values: SampleValues::Integers(values.to_vec()),
        }
    }

    fn reals(values: &[f64]) -> ViewSamples {
        ViewSamples {
            name: "0".to_owned(),
            scale: 1.0,
            bit_depth: 32,
            values: SampleValues::Reals(values.to_vec()),
        }
    }

    #[test]
    fn a_profile_of_one_view_is_a_list() {
        for (view, text) in [
            (integers("0", 8, 1.0, &[2, 2, 3, 3, 3]), "[2,2,3,3,3]"),
            (integers("0", 8, 1.0, &[2, 3, 20, 2, 3, 20]), "[2,3,20,2,3,20]"),
            (
                integers("0", 32, 1.0, &[17_248_901, 4_294_967_295]),
                "[17248901,4294967295]",
            ),
            (integers("0", 16, 1.0, &[-32768]), "[-32768]"),
            (integers("b450", 8, 0.5, &[13, 4]), "[6.5,2]"),
            (integers("b450", 8, 0.1, &[3]), "[0.3]"),
            (integers("b450", 32, 0.5, &[4_294_967_295]), "[2147483647.5]"),
            (integers("b450", 8, f64::NAN, &[3]), "[null]"),
            (
                reals(&[-1.89989984, -1.88988983643]),
                "[-1.899899840,-1.889889836]",
            ),
            (reals(&[f64::NAN, f64::INFINITY, 0.0]), "[null,null,0.000000000]"),
        ] {
            let reply = sample_reply(SampleDocument::Profile, &[view]);
            assert_eq!(reply.header("Content-Type"), Some("application/json"));
            assert_eq!(reply.body, format!("{{\n\t\"profile\": {text}\n}}"));
            serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap();
        }
    }

    #[test]
    fn a_profile_of_several_views_names_each() {
        let views = [
            integers("0", 8, 1.0, &[2, 2]),
            integers("10", 8, 1.0, &[12, 12]),
            integers("a\"b", 8, 1.0, &[202, 202]),
        ];
        assert_eq!(
            profile(&views),
            "{\n\t\"profile\": {\n\t\t\"0\": [2,2],\n\t\t\"10\": [12,12],\n\t\t\"a\\\"b\": [202,202]\n\t}\n}"
        );
    }

    #[test]
    fn a_spectrum_has_a_point_for_each_view() {
        let views = [
            integers("0", 8, 1.0, &[1, 99, 99]),
            integers("<&\u{1}>", 16, 1.0, &[65535]),
            integers("s", 32, 0.5, &[4_294_967_295]),
            reals(&[2.5]),
            reals(&[]),
        ];
        let point = |name: &str, value: &str| {
            format!(
                "\t<point>\n\t\t<wavelength>{name}</wavelength>\n\t\t<reflectance>{value}</reflectance>\n\t</point>\n"
            )
        };
        let expected = [
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<spectra>\n".to_owned(),
            point("0", "0.003922"),
            point("&lt;&amp;&gt;", "1.000000"),
            point("s", "0.500000"),
            point("0", "2.500000"),
            "</spectra>".to_owned(),
        ];
        let reply = sample_reply(SampleDocument::Spectrum, &views);
        assert_eq!(reply.header("Content-Type"), Some("application/xml"));
        assert_eq!(reply.body, expected.concat());
    }

    #[test]
    fn numbers_that_are_none_have_their_names_in_xml() {
        assert_eq!(xml_number(f64::NAN), "NaN");
        assert_eq!(xml_number(f64::NEG_INFINITY), "-INF");
        assert_eq!(xml_number(f64::INFINITY), "INF");
    }
}
