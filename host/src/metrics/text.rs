//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write};

use super::histogram::Times;

/// HTTP name of the format.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Kind of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends with `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Measurements as text, family by family.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// Names and values of a sample's labels.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// A family of counters or gauges: help, then each sample with its labels.
    pub fn family<'a, V: Display>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, V)>,
    ) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.head(name, kind, help);
        for (labels, value) in samples {
            self.sample(name, labels, None, &value);
        }
    }

    /// A counter or gauge without labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help, [(&[][..], value)]);
    }

    /// A family of histograms of seconds.
    pub fn histograms<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, Times)>,
    ) {
        self.head(name, "histogram", help);
        for (labels, times) in samples {
            for (end, count) in times.cumulative() {
                self.sample(&format!("{name}_bucket"), labels, Some(("le", end)), &count);
            }
            self.sample(&format!("{name}_sum"), labels, None, &times.sum_seconds());
            self.sample(&format!("{name}_count"), labels, None, &times.count());
        }
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, last: Option<(&str, &str)>, value: &dyn Display) {
        self.text.push_str(name);
        let mut separator = '{';
        for (label, text) in labels.iter().copied().chain(last) {
            self.text.push(separator);
            self.text.push_str(label);
            self.text.push_str("=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::histogram::Histogram;
    use super::*;

    #[test]
    fn families_have_help_type_and_escaped_labels() {
        let mut text = Exposition::default();
        text.family(
            "x_total",
            Kind::Counter,
            "what it counts",
            [(&[("a", "1"), ("b", "\"\\\n")][..], 5)],
        );
        text.single("y", Kind::Gauge, "a level", 0.5);
        assert_eq!(
            text.finish(),
            "# HELP x_total what it counts\n# TYPE x_total counter\nx_total{a=\"1\",b=\"\\\"\\\\\\n\"} 5\n\
             # HELP y a level\n# TYPE y gauge\ny 0.5\n"
        );
    }

    #[test]
    fn a_histogram_counts_upwards_and_ends_with_everything() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(3));
        histogram.observe(Duration::from_secs(100));
        let mut text = Exposition::default();
        text.histograms("t_seconds", "times", [(&[("p", "iip")][..], histogram.times())]);
        let text = text.finish();
        for line in [
            "# TYPE t_seconds histogram",
            "t_seconds_bucket{p=\"iip\",le=\"0.0025\"} 0",
            "t_seconds_bucket{p=\"iip\",le=\"0.005\"} 1",
            "t_seconds_bucket{p=\"iip\",le=\"30\"} 1",
            "t_seconds_bucket{p=\"iip\",le=\"+Inf\"} 2",
            "t_seconds_sum{p=\"iip\"} 100.003",
            "t_seconds_count{p=\"iip\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }
}
