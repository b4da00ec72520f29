//! Everything before the first scan, and the headers of scans (T.81 B.2.3).

use iiphost_plugin_api::{ByteSource, DecodeError, OpenContext};

use crate::frame::Frame;
use crate::segments::{APP0, APP1, APP2, APP13, APP14, COM, DHT, DNL, DQT, DRI, SOI, SOS, Segment, Segments};
use crate::sequential::{Scan, ScanComponent};
use crate::tables::Tables;

/// Segments of metadata that are remembered; a profile of 255 parts and long XMP fit.
const MAX_KEPT: usize = 4096;

/// Segments read before the first scan.
const MAX_SEGMENTS: usize = 1 << 16;

/// What the components stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Grey,
    YCbCr,
    Rgb,
    Cmyk,
    Ycck,
}

/// A file up to its first scan.
pub(crate) struct Header {
    pub(crate) frame: Frame,
    pub(crate) tables: Tables,
    /// Application and comment segments in order.
    pub(crate) kept: Vec<Segment>,
    pub(crate) scan: ScanHeader,
    pub(crate) coding: Coding,
    /// Inks are stored the other way round, 255 for none, as Adobe's programs do.
    pub(crate) inverted: bool,
}

impl Header {
    /// Reads a file up to its first scan.
    ///
    /// # Errors
    /// `Format`, `Unsupported` for a kind of JPEG that is not decoded, `Io`.
    pub(crate) fn read(source: &dyn ByteSource, ctx: &OpenContext<'_>) -> Result<Self, DecodeError> {
        let mut start = [0; 2];
        source.read_exact_at(0, &mut start)?;
        if start != [0xff, SOI] {
            return Err(DecodeError::format("no JPEG start of image"));
        }
        let mut segments = Segments::new(source, 2);
        let mut tables = Tables::default();
        let mut frame: Option<Frame> = None;
        let mut kept = Vec::new();
        let mut jfif = false;
        let mut adobe = None;
        for _ in 0..MAX_SEGMENTS {
            ctx.checkpoint()?;
            let Some(segment) = segments.next()? else {
                return Err(DecodeError::format("the JPEG ends before its first scan"));
            };
            match segment.code {
                APP0 | APP1 | APP2 | APP13 | APP14 | COM => {
                    if segment.code == APP0 && segment.len >= 14 {
                        jfif |= segment.read_start(source, 5)? == b"JFIF\0";
                    }
                    if segment.code == APP14 && segment.len >= 12 {
                        let payload = segment.read_start(source, 12)?;
                        if payload.starts_with(b"Adobe") {
                            adobe = payload.get(11).copied();
                        }
                    }
                    if kept.len() < MAX_KEPT {
                        kept.push(segment);
                    }
                }
                SOS => {
                    let frame = frame
                        .ok_or_else(|| DecodeError::format("a JPEG scan comes before the frame header"))?;
                    let scan = ScanHeader::parse(&frame, &segment, source)?;
                    let coding = coding(&frame, jfif, adobe);
                    return Ok(Self {
                        inverted: adobe.is_some() && matches!(coding, Coding::Cmyk | Coding::Ycck),
                        frame,
                        tables,
                        kept,
                        scan,
                        coding,
                    });
                }
                DQT | DHT | DRI => tables.take(segment.code, &segment.read(source)?)?,
                0xc0..=0xcf if segment.code != 0xc8 && segment.code != 0xcc => {
                    if frame.is_some() {
                        return Err(DecodeError::format("the JPEG has two frame headers"));
                    }
                    frame = Some(Frame::parse(segment.code, &segment.read(source)?)?);
                }
                DNL => {
                    return Err(DecodeError::unsupported(
                        "JPEG with its height after the first scan",
                    ));
                }
                _ => {}
            }
        }
        Err(DecodeError::limit(format!(
            "a JPEG of more than {MAX_SEGMENTS} segments before the first scan"
        )))
    }
}

/// What components mean: by JFIF (ITU-T T.871), the Adobe marker or, without both, their identifiers; in the
/// order every decoder follows.
fn coding(frame: &Frame, jfif: bool, adobe: Option<u8>) -> Coding {
    let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
    match (ids.len(), adobe) {
        (1, _) => Coding::Grey,
        (3, _) if jfif => Coding::YCbCr,
        (3, Some(0)) => Coding::Rgb,
        (3, Some(_)) => Coding::YCbCr,
        (3, None) if ids == *b"RGB" => Coding::Rgb,
        (3, None) => Coding::YCbCr,
        (_, None | Some(0)) => Coding::Cmyk,
        (_, Some(_)) => Coding::Ycck,
    }
}

/// The header of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScanHeader {
    /// Number in the frame, DC table, AC table by component.
    pub(crate) components: Vec<(usize, usize, usize)>,
    /// First and last coefficient in zigzag order.
    pub(crate) first: usize,
    pub(crate) last: usize,
    /// Bit of the coefficients known before, 0 for none, and bit known after this scan.
    pub(crate) high: u32,
    pub(crate) low: u32,
    /// Where the entropy-coded data begins.
    pub(crate) data: u64,
}

impl ScanHeader {
    /// The header of a scan of `frame`.
    ///
    /// # Errors
    /// `Format`, `Io`.
    pub(crate) fn parse(
        frame: &Frame,
        segment: &Segment,
        source: &dyn ByteSource,
    ) -> Result<Self, DecodeError> {
        let payload = segment.read(source)?;
        let broken = |what: &str| DecodeError::format(format!("JPEG scan header: {what}"));
        let (&count, rest) = payload.split_first().ok_or_else(|| broken("empty"))?;
        let (list, tail) = rest
            .split_at_checked(2 * usize::from(count))
            .filter(|_| (1..=4).contains(&count))
            .ok_or_else(|| broken("too short, or not 1 to 4 components"))?;
        let mut components: Vec<(usize, usize, usize)> = Vec::with_capacity(4);
        for entry in list.chunks_exact(2) {
            let number = frame
                .components
                .iter()
                .position(|component| component.id == entry[0])
                .ok_or_else(|| broken(&format!("component {} is not in the frame", entry[0])))?;
            if components.iter().any(|other| other.0 == number) {
                return Err(broken(&format!("component {} is there twice", entry[0])));
            }
            components.push((number, usize::from(entry[1] >> 4), usize::from(entry[1] & 15)));
        }
        let &[first, last, bits] = tail.first_chunk::<3>().ok_or_else(|| broken("too short"))?;
        let mut scan = Self {
            components,
            first: usize::from(first),
            last: usize::from(last),
            high: u32::from(bits >> 4),
            low: u32::from(bits & 15),
            data: segment.offset + segment.len as u64,
        };
        if !frame.progressive {
            // Some writers leave nonsense here; it has no meaning in a sequential file.
            (scan.first, scan.last, scan.high, scan.low) = (0, 63, 0, 0);
            return Ok(scan);
        }
        let dc = scan.first == 0;
        // T.81 G.1.1.1: DC and AC apart, AC one component at a time, one bit more with each refinement.
        if scan.first > scan.last
            || scan.last > 63
            || scan.low > 13
            || (dc && scan.last != 0)
            || (!dc && scan.components.len() != 1)
            || (scan.high != 0 && scan.high != scan.low + 1)
        {
            return Err(broken(&format!(
                "impossible progression {first} to {last}, bits {bits:#04x}"
            )));
        }
        Ok(scan)
    }

    /// The scan as a walk takes it, `None` unless it holds the whole picture and each of its blocks can be ended
    /// by a code.
    ///
    /// # Errors
    /// `Format` if a table is missing.
    pub(crate) fn whole(&self, frame: &Frame, tables: &Tables) -> Result<Option<Scan>, DecodeError> {
        if frame.progressive || self.components.len() != frame.components.len() || !frame.can_interleave() {
            return Ok(None);
        }
        let mut components = Vec::with_capacity(4);
        for &(component, dc, ac) in &self.components {
            let shape = &frame.components[component];
            let (dc, ac) = (tables.dc(dc)?, tables.ac(ac)?);
            if ac.code(0).len == 0 {
                return Ok(None);
            }
            components.push(ScanComponent {
                component,
                blocks: shape.across * shape.down,
                dc,
                ac,
            });
        }
        Ok(Some(Scan {
            frame: frame.clone(),
            components,
            restart_interval: tables.restart_interval,
            data: self.data,
        }))
    }
}
