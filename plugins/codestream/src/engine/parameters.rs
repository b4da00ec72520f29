//! Coding parameters of a tile: the marker segments of the main header, and over them those of the tile's own header
//! (ISO/IEC 15444-1 A.6).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::Declined;
use super::block::BlockStyle;
use crate::bytes::Fields;
use crate::header::{COC, COD, QCD, SOC, Size};

const RGN: u16 = 0xff5e;
const QCC: u16 = 0xff5d;
const POC: u16 = 0xff5f;
const PPT: u16 = 0xff61;

/// Changes of the order of packets of a tile, as many as OpenJPEG takes: each goes over all packets once.
const MAX_VOLUMES: usize = 32;

/// Order of packets (Table A.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progression {
    /// Layer, resolution, component, position.
    Lrcp,
    /// Resolution, layer, component, position.
    Rlcp,
    /// Resolution, position, component, layer.
    Rpcl,
    /// Position, component, resolution, layer.
    Pcrl,
    /// Component, position, resolution, layer.
    Cprl,
}

impl Progression {
    fn from_code(code: u8) -> Result<Self, Declined> {
        Ok(match code {
            0 => Self::Lrcp,
            1 => Self::Rlcp,
            2 => Self::Rpcl,
            3 => Self::Pcrl,
            4 => Self::Cprl,
            _ => return Err(Declined("an unknown order of packets")),
        })
    }
}

/// Packets that follow each other in one order (A.6.6).
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    pub(crate) order: Progression,
    pub(crate) components: Range<u32>,
    pub(crate) resolutions: Range<u32>,
    /// Layers up to this one, those not sent before.
    pub(crate) layers: u32,
}

/// How a component is decomposed and coded (A.6.1, A.6.2).
#[derive(Clone, Debug)]
pub(crate) struct Coding {
    pub(crate) decompositions: u32,
    /// Width and height of code-blocks, powers of two.
    pub(crate) block: [u32; 2],
    pub(crate) style: BlockStyle,
    /// The 5-3 filter, else the 9-7.
    pub(crate) is_reversible: bool,
    /// Width and height of precincts by resolution, the smallest first, powers of two.
    pub(crate) precincts: Vec<[u32; 2]>,
}

/// How coefficients are quantized (A.6.4).
#[derive(Clone, Debug)]
pub(crate) struct Quantization {
    pub(crate) guard_bits: u32,
    /// Exponent and mantissa by band, the LL band first.
    steps: Vec<(u32, u32)>,
    is_derived: bool,
}

impl Quantization {
    /// Exponent and mantissa of a band, 0 the LL band, then those of each resolution (E-5).
    pub(crate) fn step(&self, band: usize) -> Option<(u32, u32)> {
        if self.is_derived {
            let (exponent, mantissa) = *self.steps.first()?;
            return Some((
                exponent.saturating_sub(band.saturating_sub(1) as u32 / 3),
                mantissa,
            ));
        }
        self.steps.get(band).copied()
    }
}

/// A parameter of all components and of single ones, each with how near to the component it was stated: the nearest
/// counts. A segment costs the same for any number of components, and copies for a tile share what they hold.
#[derive(Clone, Debug)]
struct Stated<T> {
    of_all: Option<(u8, Arc<T>)>,
    of_one: HashMap<usize, (u8, Arc<T>)>,
}

impl<T> Stated<T> {
    fn new() -> Self {
        Self {
            of_all: None,
            of_one: HashMap::new(),
        }
    }

    fn set_all(&mut self, rank: u8, value: T) {
        self.of_all = Some((rank, Arc::new(value)));
    }

    fn set(&mut self, rank: u8, component: usize, value: T) {
        self.of_one.insert(component, (rank, Arc::new(value)));
    }

    fn of(&self, component: usize) -> Option<&T> {
        let nearest = self.of_one.get(&component).into_iter().chain(&self.of_all);
        nearest.max_by_key(|(rank, _)| *rank).map(|(_, value)| &**value)
    }
}

/// The parameters of a tile.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    component_count: usize,
    coding: Stated<Coding>,
    quantization: Stated<Quantization>,
    roi_shifts: HashMap<usize, u32>,
    order: Progression,
    pub(crate) layers: u32,
    /// The first three components are transformed together (Annex G).
    pub(crate) has_color_transform: bool,
    pub(crate) has_start_marks: bool,
    pub(crate) has_end_marks: bool,
    volumes: Vec<Volume>,
    /// They are the tile's.
    has_own_volumes: bool,
}

impl Parameters {
    /// From the bytes of a main header.
    pub(crate) fn read(header: &[u8], size: &Size) -> Result<Self, Declined> {
        let mut parameters = Self {
            component_count: size.components.len(),
            coding: Stated::new(),
            quantization: Stated::new(),
            roi_shifts: HashMap::new(),
            order: Progression::Lrcp,
            layers: 1,
            has_color_transform: false,
            has_start_marks: false,
            has_end_marks: false,
            volumes: Vec::new(),
            has_own_volumes: false,
        };
        let segments = header
            .strip_prefix(&SOC.to_be_bytes())
            .ok_or(Declined("no main header"))?;
        parameters.apply(segments, false)?;
        Ok(parameters)
    }

    /// Puts the segments of a tile's header over those of the main header.
    pub(crate) fn apply_tile(&mut self, segments: &[u8]) -> Result<(), Declined> {
        self.apply(segments, true)
    }

    fn apply(&mut self, segments: &[u8], is_tile: bool) -> Result<(), Declined> {
        let mut fields = Fields(segments);
        while let Some(marker) = fields.u16() {
            let len = usize::from(fields.u16().or_short()?);
            let (body, rest) = len
                .checked_sub(2)
                .and_then(|len| fields.0.split_at_checked(len))
                .or_short()?;
            fields.0 = rest;
            self.segment(marker, &mut Fields(body), is_tile)?;
        }
        Ok(())
    }

    fn segment(&mut self, marker: u16, body: &mut Fields<'_>, is_tile: bool) -> Result<(), Declined> {
        let rank = if is_tile { 2 } else { 0 };
        match marker {
            COD => {
                let style = body.u8().or_short()?;
                self.order = Progression::from_code(body.u8().or_short()?)?;
                self.layers = u32::from(body.u16().or_short()?);
                let transform = body.u8().or_short()?;
                if self.layers == 0 || transform > 1 {
                    return Err(Declined("no layers, or a color transform of another part"));
                }
                self.has_color_transform = transform == 1;
                self.has_start_marks = style & 2 != 0;
                self.has_end_marks = style & 4 != 0;
                self.coding.set_all(rank, coding(body, style & 1 != 0)?);
            }
            COC => {
                let component = self.component_number(body)?;
                let style = body.u8().or_short()?;
                let coding = coding(body, style & 1 != 0)?;
                self.coding.set(rank + 1, component, coding);
            }
            QCD => self.quantization.set_all(rank, quantization(body)?),
            QCC => {
                let component = self.component_number(body)?;
                self.quantization.set(rank + 1, component, quantization(body)?);
            }
            RGN => {
                let component = self.component_number(body)?;
                let (style, shift) = (body.u8().or_short()?, body.u8().or_short()?);
                if style != 0 {
                    return Err(Declined("a region of interest of another kind"));
                }
                self.roi_shifts.insert(component, u32::from(shift));
            }
            POC => {
                // The first of a tile is there instead of the one of the main header; others continue it.
                if is_tile && !self.has_own_volumes {
                    self.has_own_volumes = true;
                    self.volumes.clear();
                }
                while !body.0.is_empty() {
                    if self.volumes.len() == MAX_VOLUMES {
                        return Err(Declined("too many orders of packets"));
                    }
                    let volume = self.volume(body).or_short()??;
                    self.volumes.push(volume);
                }
            }
            PPT => return Err(Declined("packet headers apart from their packets")),
            _ => {}
        }
        Ok(())
    }

    /// Bytes of the number of a component.
    fn number_bytes(&self) -> usize {
        if self.component_count < 257 { 1 } else { 2 }
    }

    /// The component a segment is about, which is there.
    fn component_number(&self, body: &mut Fields<'_>) -> Result<usize, Declined> {
        let number = body.uint(self.number_bytes()).or_short()? as usize;
        if number < self.component_count {
            Ok(number)
        } else {
            Err(Declined("parameters of a component that is not there"))
        }
    }

    /// One change of the order of packets (Table A.32).
    fn volume(&self, body: &mut Fields<'_>) -> Option<Result<Volume, Declined>> {
        let first_resolution = u32::from(body.u8()?);
        let first = body.uint(self.number_bytes())? as u32;
        let layers = u32::from(body.u16()?);
        let end_resolution = u32::from(body.u8()?);
        // 0 is said for 256, which one byte cannot.
        let end = match body.uint(self.number_bytes())? as u32 {
            0 => u32::MAX,
            end => end,
        };
        let order = Progression::from_code(body.u8()?);
        Some(order.map(|order| Volume {
            order,
            components: first..end.min(self.component_count as u32),
            resolutions: first_resolution..end_resolution,
            layers,
        }))
    }

    /// How the packets of a tile follow each other.
    pub(crate) fn volumes(&self) -> Vec<Volume> {
        if !self.volumes.is_empty() {
            let volumes = self.volumes.iter().cloned();
            // There are no packets of layers that are not there.
            return volumes
                .map(|volume| Volume {
                    layers: volume.layers.min(self.layers),
                    ..volume
                })
                .collect();
        }
        vec![Volume {
            order: self.order,
            components: 0..self.component_count as u32,
            resolutions: 0..33,
            layers: self.layers,
        }]
    }

    /// What is stated of a component.
    pub(crate) fn component(&self, index: usize) -> Result<(&Coding, &Quantization, u32), Declined> {
        let roi_shift = self.roi_shifts.get(&index).copied().unwrap_or(0);
        match (self.coding.of(index), self.quantization.of(index)) {
            (Some(coding), Some(quantization)) => Ok((coding, quantization, roi_shift)),
            _ => Err(Declined("a component without parameters")),
        }
    }
}

/// The end of a COD or COC segment.
fn coding(body: &mut Fields<'_>, has_precincts: bool) -> Result<Coding, Declined> {
    let [decompositions, width, height, style, transform] = body.take().or_short()?;
    let decompositions = u32::from(decompositions);
    let block = [width, height].map(|power| u32::from(power) + 2);
    let style = BlockStyle(style);
    if decompositions > 32 || block[0] > 10 || block[1] > 10 || block[0] + block[1] > 12 {
        return Err(Declined("decompositions or blocks that are not allowed"));
    }
    if style.is_high_throughput() || style.0 & 0x80 != 0 || transform > 1 {
        return Err(Declined("a block coder or filter of another part"));
    }
    let mut precincts = vec![[15, 15]; decompositions as usize + 1];
    if has_precincts {
        for (resolution, precinct) in precincts.iter_mut().enumerate() {
            let powers = u32::from(body.u8().or_short()?);
            *precinct = [powers & 15, powers >> 4];
            if resolution > 0 && precinct.contains(&0) {
                return Err(Declined("precincts of half a sample"));
            }
        }
    }
    Ok(Coding {
        decompositions,
        block,
        style,
        is_reversible: transform == 1,
        precincts,
    })
}

/// The end of a QCD or QCC segment.
fn quantization(body: &mut Fields<'_>) -> Result<Quantization, Declined> {
    let style = body.u8().or_short()?;
    let mut steps = Vec::new();
    if style & 31 == 0 {
        while let Some(step) = body.u8() {
            steps.push((u32::from(step >> 3), 0));
        }
    } else {
        while let Some(step) = body.u16() {
            steps.push((u32::from(step >> 11), u32::from(step & 0x7ff)));
        }
    }
    Ok(Quantization {
        guard_bits: u32::from(style >> 5),
        steps,
        is_derived: style & 31 == 1,
    })
}

/// What a segment ends before.
trait OrShort<T> {
    fn or_short(self) -> Result<T, Declined>;
}

impl<T> OrShort<T> for Option<T> {
    fn or_short(self) -> Result<T, Declined> {
        self.ok_or(Declined("a segment that is too short"))
    }
}
