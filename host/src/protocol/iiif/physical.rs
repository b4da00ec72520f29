//! The service that tells the size of a pixel.

use iiphost_plugin_api::{Resolution, ResolutionUnit};
use serde_json::{Map, Value, json};

/// The service of physical dimensions (IIIF annex "Services", section 4.2): size of a pixel.
pub(super) fn physical_dimensions(resolution: Option<Resolution>) -> Option<Map<String, Value>> {
    let resolution = resolution?;
    let unit = match resolution.unit {
        ResolutionUnit::Inch => "in",
        ResolutionUnit::Centimeter => "cm",
        ResolutionUnit::None => return None,
    };
    let scale = six_digits(1.0 / resolution.x).filter(|scale| *scale > 0.0)?;
    let Value::Object(service) = json!({
        "@context": "http://iiif.io/api/annex/services/physdim/1/context.json",
        "profile": "http://iiif.io/api/annex/services/physdim",
        "physicalScale": scale,
        "physicalUnits": unit,
    }) else {
        return None;
    };
    Some(service)
}

/// A finite number, rounded to six significant digits.
fn six_digits(number: f64) -> Option<f64> {
    number
        .is_finite()
        .then(|| format!("{number:.5e}").parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn physical_dimensions_need_a_unit_and_a_size() {
        use ResolutionUnit::{Centimeter, Inch, None as Unitless};
        for (x, unit, expected) in [
            (10.0, Centimeter, Some((0.1, "cm"))),
            (300.0, Inch, Some((0.003_333_33, "in"))),
            (11.811_023, Centimeter, Some((0.084_666_7, "cm"))),
            (1.0, Unitless, None),
            (0.0, Inch, None),
            (-1.0, Inch, None),
            (f64::NAN, Inch, None),
            (f64::INFINITY, Inch, None),
        ] {
            let service = physical_dimensions(Some(Resolution { x, y: 1.0, unit }));
            let got = service.map(|s| (s["physicalScale"].as_f64().unwrap(), s["physicalUnits"].clone()));
            assert_eq!(
                got,
                expected.map(|(scale, unit)| (scale, json!(unit))),
                "{x} {unit:?}"
            );
        }
    }
}
