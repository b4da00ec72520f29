//! The canonical bytes of a plan: equal pictures have equal bytes.

use super::Plan;
use crate::view::{ColorMode, Contrast, Gamma};

impl Plan {
    /// Appends the canonical form of the plan. Every field that changes a pixel is in it; the encoder's
    /// resolved settings are added by the caller.
    pub fn write_key(&self, key: &mut Vec<u8>) {
        let mut put = |value: u64| key.extend_from_slice(&value.to_le_bytes());
        put(self.page as u64);
        put(self.level as u64 | u64::from(self.quality_layers) << 32);
        put(u64::from(self.source.x) << 32 | u64::from(self.source.y));
        put(u64::from(self.source.width) << 32 | u64::from(self.source.height));
        put(u64::from(self.padded.width) << 32 | u64::from(self.padded.height));
        put(u64::from(self.size.width) << 32 | u64::from(self.size.height));
        put(self.turn.degrees.to_bits());
        // The exhaustive pattern makes a new step without a place in the key a compile error.
        let crate::view::Processing {
            ranges,
            shade,
            twist,
            gamma,
            invert,
            color_map,
            kernel,
            contrast,
            color_mode,
        } = &self.processing;
        let (gamma_kind, gamma_value) = match *gamma {
            Gamma::Power(g) => (0, g),
            Gamma::Log => (1, 0.0),
        };
        let (contrast_kind, contrast_value) = match *contrast {
            Contrast::Factor(c) => (0, c),
            Contrast::Stretch => (1, 0.0),
            Contrast::Equalize => (2, 0.0),
        };
        let mode = match color_mode {
            ColorMode::Native => 0,
            ColorMode::Grey => 1,
            ColorMode::Bilevel => 2,
        };
        let flags = u64::from(self.turn.mirror)
            | u64::from(*invert) << 1
            | gamma_kind << 2
            | contrast_kind << 4
            | mode << 8
            | color_map.map_or(0, |m| m as u64 + 1) << 16
            | u64::from(shade.is_some()) << 24
            | u64::from(twist.is_some()) << 25
            | u64::from(kernel.is_some()) << 26
            | (ranges.len() as u64) << 32;
        put(flags);
        put(gamma_value.to_bits());
        put(contrast_value.to_bits());
        if let Some(shade) = shade {
            put(u64::from(shade.azimuth as u32) << 32 | u64::from(shade.elevation as u32));
        }
        for range in ranges {
            put(range.band.map_or(u64::MAX, u64::from));
            put(range.min.to_bits());
            put(range.max.to_bits());
        }
        if let Some(rows) = twist {
            put(rows.len() as u64);
            for row in rows {
                put(row.len() as u64);
                row.iter().for_each(|v| put(v.to_bits()));
            }
        }
        if let Some(kernel) = kernel {
            put(kernel.len() as u64);
            kernel.iter().for_each(|v| put(v.to_bits()));
        }
    }
}
