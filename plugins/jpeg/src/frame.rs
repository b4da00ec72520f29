//! What a frame header says (T.81 B.2.2).

use iiphost_plugin_api::DecodeError;

/// Samples across and down a block.
pub(crate) const BLOCK: u32 = 8;

/// Blocks an interleaved MCU may have (T.81 B.2.3).
const MAX_MCU_BLOCKS: u32 = 10;

/// One component of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Component {
    /// The identifier by which scans name it.
    pub(crate) id: u8,
    /// Blocks across an MCU of all components.
    pub(crate) across: u32,
    /// Blocks down such an MCU.
    pub(crate) down: u32,
    /// Number of its quantization table, 0 to 3.
    pub(crate) quant: usize,
}

/// A frame header that this module can decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) progressive: bool,
    /// One, three or four. A single one is 1 x 1 whatever its header says: T.81 A.2.2 ignores the factors then.
    pub(crate) components: Vec<Component>,
}

impl Frame {
    /// The frame of a marker `SOFn` with its payload.
    ///
    /// # Errors
    /// `Unsupported` naming the kind of JPEG, `Format`.
    pub(crate) fn parse(code: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        let kind = match code {
            0xc0..=0xc2 => None,
            0xc3 => Some("lossless"),
            0xc5..=0xc7 | 0xcd..=0xcf => Some("hierarchical"),
            _ => Some("arithmetic-coded"),
        };
        if let Some(kind) = kind {
            return Err(DecodeError::unsupported(format!(
                "{kind} JPEG (frame type {code:#04x})"
            )));
        }
        let broken = |what: &str| DecodeError::format(format!("JPEG frame header: {what}"));
        let &[precision, h1, h0, w1, w0, count] =
            payload.first_chunk::<6>().ok_or_else(|| broken("too short"))?;
        if precision != 8 {
            return Err(DecodeError::unsupported(format!(
                "JPEG with {precision} bits per sample, expected 8"
            )));
        }
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        if width == 0 || height == 0 {
            return Err(broken(&format!("the picture is {width}x{height}")));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(DecodeError::unsupported(format!(
                "JPEG with {count} components, expected 1, 3 or 4"
            )));
        }
        let list = payload
            .get(6..6 + 3 * usize::from(count))
            .ok_or_else(|| broken("too short for its components"))?;
        let mut components = Vec::with_capacity(4);
        for entry in list.chunks_exact(3) {
            let (across, down) = (u32::from(entry[1] >> 4), u32::from(entry[1] & 15));
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
                return Err(broken(&format!("a component is sampled {across}x{down}")));
            }
            if entry[2] > 3 {
                return Err(broken(&format!("quantization table {} of 4", entry[2])));
            }
            components.push(Component {
                id: entry[0],
                across: if count == 1 { 1 } else { across },
                down: if count == 1 { 1 } else { down },
                quant: usize::from(entry[2]),
            });
        }
        let frame = Self {
            width: u32::from(width),
            height: u32::from(height),
            progressive: code == 0xc2,
            components,
        };
        let (across, down) = (frame.max_across(), frame.max_down());
        if frame
            .components
            .iter()
            .any(|c| across % c.across != 0 || down % c.down != 0)
        {
            return Err(DecodeError::unsupported(
                "JPEG with components whose sampling is not a whole fraction of the largest",
            ));
        }
        Ok(frame)
    }

    /// Largest horizontal sampling factor.
    pub(crate) fn max_across(&self) -> u32 {
        self.components.iter().map(|c| c.across).max().unwrap_or(1)
    }

    /// Largest vertical sampling factor.
    pub(crate) fn max_down(&self) -> u32 {
        self.components.iter().map(|c| c.down).max().unwrap_or(1)
    }

    /// Pixels across an MCU of all components.
    pub(crate) fn mcu_width(&self) -> u32 {
        BLOCK * self.max_across()
    }

    /// Pixels down an MCU of all components.
    pub(crate) fn mcu_height(&self) -> u32 {
        BLOCK * self.max_down()
    }

    /// MCUs across the picture.
    pub(crate) fn mcu_cols(&self) -> u32 {
        self.width.div_ceil(self.mcu_width())
    }

    /// MCUs down the picture.
    pub(crate) fn mcu_rows(&self) -> u32 {
        self.height.div_ceil(self.mcu_height())
    }

    /// Blocks across and down a component in a scan of its own (T.81 A.2.2).
    pub(crate) fn own_blocks(&self, component: &Component) -> (u32, u32) {
        (
            (self.width * component.across).div_ceil(self.mcu_width()),
            (self.height * component.down).div_ceil(self.mcu_height()),
        )
    }

    /// Whether some component has fewer samples than another, so that neighbors blend at block edges.
    pub(crate) fn is_subsampled(&self) -> bool {
        let (across, down) = (self.max_across(), self.max_down());
        self.components
            .iter()
            .any(|c| (c.across, c.down) != (across, down))
    }

    /// Whether all components fit into one MCU, which one scan of all of them needs.
    pub(crate) fn can_interleave(&self) -> bool {
        self.components.iter().map(|c| c.across * c.down).sum::<u32>() <= MAX_MCU_BLOCKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(components: &[[u8; 3]]) -> Vec<u8> {
        let mut payload = vec![8, 0, 33, 0, 50, components.len() as u8];
        payload.extend(components.concat());
        payload
    }

    #[test]
    fn sizes_in_mcus_follow_the_largest_sampling_factors() {
        let frame = Frame::parse(0xc0, &header(&[[1, 0x22, 0], [2, 0x11, 1], [3, 0x11, 1]])).unwrap();
        assert_eq!((frame.width, frame.height), (50, 33));
        assert_eq!((frame.mcu_cols(), frame.mcu_rows()), (4, 3));
        assert_eq!(frame.own_blocks(&frame.components[0]), (7, 5));
        assert_eq!(frame.own_blocks(&frame.components[1]), (4, 3));
        assert!(frame.is_subsampled() && frame.can_interleave());
        let grey = Frame::parse(0xc0, &header(&[[1, 0x22, 0]])).unwrap();
        assert_eq!((grey.mcu_cols(), grey.mcu_rows()), (7, 5));
        assert!(!grey.is_subsampled());
    }

    #[test]
    fn what_cannot_be_decoded_is_refused_by_name() {
        let good = header(&[[1, 0x11, 0]]);
        for (code, word) in [(0xc3, "lossless"), (0xc6, "hierarchical"), (0xc9, "arithmetic")] {
            let error = Frame::parse(code, &good).unwrap_err();
            assert!(error.message().contains(word), "{error}");
        }
        let changed = |at: usize, value: u8| {
            let mut payload = good.clone();
            payload[at] = value;
            Frame::parse(0xc1, &payload).unwrap_err().to_string()
        };
        assert!(changed(0, 12).contains("12 bits"));
        assert!(changed(4, 0).contains("0x33"));
        assert!(changed(5, 2).contains("2 components"));
        assert!(changed(5, 3).contains("too short"));
        assert!(changed(7, 0x51).contains("5x1"));
        assert!(changed(8, 4).contains("table 4"));
    }
}
