//! Makes codestreams for tests, with the encoder of the same library.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::mem::MaybeUninit;

use openjpeg_sys as opj;

pub use opj::PROG_ORDER;

/// What to encode, and how.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Columns of the reference grid.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Significant bits of each component.
    pub depths: Vec<u32>,
    /// Whether samples are signed.
    pub signed: bool,
    /// Distance of samples on the grid, by component; 1×1 where it is missing.
    pub subsampling: Vec<(u32, u32)>,
    /// Size of the tiles, one for the whole image else.
    pub tile: Option<(u32, u32)>,
    /// Wavelet decompositions.
    pub decompositions: u32,
    /// The 9-7 transform and quantization.
    pub irreversible: bool,
    /// Quality layers, one cut off sooner than the next.
    pub layers: u32,
    /// Place of the image on the reference grid.
    pub offset: (u32, u32),
    /// Side of the precincts of all resolutions.
    pub precinct: Option<u32>,
    /// Order of the packets.
    pub progression: opj::PROG_ORDER,
    /// PLT segments.
    pub packet_lengths: bool,
    /// A TLM segment.
    pub tile_lengths: bool,
    /// SOP and EPH markers.
    pub resync: bool,
    /// Coding style of blocks, the bits of Table A.19.
    pub style: u8,
    /// Sides of code-blocks.
    pub block: (u32, u32),
    /// A component of interest, and the planes it is moved up.
    pub roi: Option<(u32, u32)>,
    /// A second order of packets, from the second resolution on.
    pub then: Option<PROG_ORDER>,
}

impl Recipe {
    /// A lossless codestream of one tile and one layer, three decompositions.
    pub fn new(width: u32, height: u32, components: usize, bit_depth: u32) -> Self {
        Self {
            width,
            height,
            depths: vec![bit_depth; components],
            signed: false,
            subsampling: Vec::new(),
            tile: None,
            decompositions: 3,
            irreversible: false,
            layers: 1,
            offset: (0, 0),
            precinct: None,
            progression: opj::PROG_ORDER::OPJ_LRCP,
            packet_lengths: false,
            tile_lengths: false,
            resync: false,
            style: 0,
            block: (64, 64),
            roi: None,
            then: None,
        }
    }

    /// Distance of the samples of a component.
    pub fn step(&self, component: usize) -> (u32, u32) {
        self.subsampling.get(component).copied().unwrap_or((1, 1))
    }

    /// The sample of a component at a place of its own grid, in offset form: slopes with some texture.
    pub fn sample(&self, component: usize, x: u32, y: u32) -> u32 {
        let max = u64::from(u32::MAX >> (32 - self.depths[component]));
        let slope = u64::from(x) * 3 + u64::from(y) * 5 + component as u64 * 40;
        let texture = u64::from((x * 7919 + y * 104_729 + x * y * 31) >> 3 & 15);
        ((slope * 16 + texture) * (max + 1) / 4096 % (max + 1)) as u32
    }
}

/// Encodes the pattern of a recipe as a bare codestream.
pub fn encode(recipe: &Recipe) -> Vec<u8> {
    encode_samples(recipe, |component, x, y| recipe.sample(component, x, y))
}

/// Encodes samples, given by component and place on its own grid in offset form, as a bare codestream.
pub fn encode_samples(recipe: &Recipe, sample_at: impl Fn(usize, u32, u32) -> u32) -> Vec<u8> {
    let (x0, y0) = recipe.offset;
    let (x1, y1) = (x0 + recipe.width, y0 + recipe.height);
    let mut comps: Vec<opj::opj_image_comptparm> = recipe
        .depths
        .iter()
        .enumerate()
        .map(|(i, &prec)| {
            let (dx, dy) = recipe.step(i);
            opj::opj_image_comptparm {
                dx,
                dy,
                w: x1.div_ceil(dx) - x0.div_ceil(dx),
                h: y1.div_ceil(dy) - y0.div_ceil(dy),
                x0: 0,
                y0: 0,
                prec,
                bpp: prec,
                sgnd: u32::from(recipe.signed),
            }
        })
        .collect();
    // SAFETY: as many parameters as said; the result is owned and checked.
    let image = unsafe {
        opj::opj_image_create(
            comps.len() as u32,
            comps.as_mut_ptr(),
            opj::COLOR_SPACE::OPJ_CLRSPC_UNSPECIFIED,
        )
    };
    // SAFETY: not null as checked, owned, used by nobody else.
    let shape = unsafe { image.as_mut() }.expect("an image of the library");
    (shape.x0, shape.y0, shape.x1, shape.y1) = (x0, y0, x1, y1);
    // SAFETY: the library has made one component for each set of parameters.
    let image_comps = unsafe { std::slice::from_raw_parts_mut(shape.comps, comps.len()) };
    for (i, (parameters, comp)) in comps.iter().zip(image_comps).enumerate() {
        // SAFETY: the library has allocated w * h samples and set them to zero.
        let samples = unsafe { std::slice::from_raw_parts_mut(comp.data, (comp.w * comp.h) as usize) };
        let bias = if recipe.signed {
            1i64 << (parameters.prec - 1)
        } else {
            0
        };
        let (left, top) = (x0.div_ceil(parameters.dx), y0.div_ceil(parameters.dy));
        for (at, sample) in samples.iter_mut().enumerate() {
            let (x, y) = (at as u32 % parameters.w + left, at as u32 / parameters.w + top);
            *sample = (i64::from(sample_at(i, x, y)) - bias) as i32;
        }
    }
    let mut parameters = MaybeUninit::<opj::opj_cparameters_t>::zeroed();
    // SAFETY: the function writes the whole struct.
    unsafe { opj::opj_set_default_encoder_parameters(parameters.as_mut_ptr()) };
    // SAFETY: numbers, arrays and null pointers, all zero or set just now; enums by the library.
    let mut parameters = unsafe { parameters.assume_init() };
    parameters.numresolution = recipe.decompositions as i32 + 1;
    parameters.irreversible = i32::from(recipe.irreversible);
    parameters.tcp_numlayers = recipe.layers as i32;
    parameters.cp_disto_alloc = 1;
    for layer in 0..recipe.layers as usize {
        // The last layer holds all there is, but for the lossy transform.
        let left = (recipe.layers as usize - 1 - layer) as f32;
        parameters.tcp_rates[layer] = match (left, recipe.irreversible) {
            (0.0, false) => 1.0,
            (0.0, true) => 6.0,
            (left, _) => 6.0 + 10.0 * left,
        };
    }
    let plain = recipe.subsampling.is_empty() && recipe.depths.iter().all(|&d| d == recipe.depths[0]);
    parameters.tcp_mct = i8::from(recipe.depths.len() == 3 && plain);
    parameters.prog_order = recipe.progression;
    if let Some((width, height)) = recipe.tile {
        parameters.tile_size_on = 1;
        (parameters.cp_tdx, parameters.cp_tdy) = (width as i32, height as i32);
    }
    (parameters.image_offset_x0, parameters.image_offset_y0) = (x0 as i32, y0 as i32);
    if let Some(side) = recipe.precinct {
        parameters.csty |= 1;
        parameters.res_spec = recipe.decompositions as i32 + 1;
        for resolution in 0..=recipe.decompositions as usize {
            parameters.prcw_init[resolution] = side as i32;
            parameters.prch_init[resolution] = side as i32;
        }
    }
    if recipe.resync {
        parameters.csty |= 6;
    }
    parameters.mode = i32::from(recipe.style);
    (parameters.cblockw_init, parameters.cblockh_init) = (recipe.block.0 as i32, recipe.block.1 as i32);
    if let Some((component, shift)) = recipe.roi {
        (parameters.roi_compno, parameters.roi_shift) = (component as i32, shift as i32);
    }
    if let Some(then) = recipe.then {
        let orders = [(0, 1, recipe.progression), (1, recipe.decompositions + 1, then)];
        parameters.numpocs = 2;
        for (poc, (first, end, order)) in parameters.POC.iter_mut().zip(orders) {
            poc.tile = 1;
            (poc.resno0, poc.resno1) = (first, end);
            (poc.compno0, poc.compno1) = (0, recipe.depths.len() as u32);
            poc.layno1 = recipe.layers;
            poc.prg1 = order;
        }
    }
    let mut out = Output::default();
    // SAFETY: no pointers.
    let codec = unsafe { opj::opj_create_compress(opj::CODEC_FORMAT::OPJ_CODEC_J2K) };
    // SAFETY: codec, parameters and image are alive.
    let set_up = unsafe { opj::opj_setup_encoder(codec, &raw mut parameters, image) };
    assert_ne!(set_up, 0);
    let mut options = Vec::new();
    if recipe.packet_lengths {
        options.push(c"PLT=YES".as_ptr());
    }
    if recipe.tile_lengths {
        options.push(c"TLM=YES".as_ptr());
    }
    options.push(std::ptr::null());
    // SAFETY: terminated strings, and a null at the end.
    let taken = unsafe { opj::opj_encoder_set_extra_options(codec, options.as_ptr()) };
    assert_ne!(taken, 0);
    // SAFETY: no pointers.
    let stream = unsafe { opj::opj_stream_create(1 << 16, 0) };
    // SAFETY: `out` outlives the stream and is not touched meanwhile.
    unsafe { opj::opj_stream_set_user_data(stream, (&raw mut out).cast(), None) };
    // SAFETY: callbacks of the right types.
    unsafe { opj::opj_stream_set_write_function(stream, Some(write)) };
    // SAFETY: as above.
    unsafe { opj::opj_stream_set_skip_function(stream, Some(skip)) };
    // SAFETY: as above.
    unsafe { opj::opj_stream_set_seek_function(stream, Some(seek)) };
    // SAFETY: all are alive and belong together.
    assert_ne!(unsafe { opj::opj_start_compress(codec, image, stream) }, 0);
    // SAFETY: as above.
    assert_ne!(unsafe { opj::opj_encode(codec, stream) }, 0);
    // SAFETY: as above.
    assert_ne!(unsafe { opj::opj_end_compress(codec, stream) }, 0);
    // SAFETY: owned, freed once.
    unsafe { opj::opj_stream_destroy(stream) };
    // SAFETY: owned, freed once.
    unsafe { opj::opj_destroy_codec(codec) };
    // SAFETY: owned, freed once.
    unsafe { opj::opj_image_destroy(image) };
    out.bytes
}

#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    position: usize,
}

unsafe extern "C" fn write(buffer: *mut c_void, len: usize, data: *mut c_void) -> usize {
    // SAFETY: the pointer `encode` set.
    let out = unsafe { &mut *data.cast::<Output>() };
    // SAFETY: the library passes `len` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), len) };
    let end = out.position + len;
    if out.bytes.len() < end {
        out.bytes.resize(end, 0);
    }
    out.bytes[out.position..end].copy_from_slice(bytes);
    out.position = end;
    len
}

unsafe extern "C" fn skip(count: i64, data: *mut c_void) -> i64 {
    // SAFETY: the pointer `encode` set.
    let out = unsafe { &mut *data.cast::<Output>() };
    out.position = out.position.saturating_add_signed(count as isize);
    count
}

unsafe extern "C" fn seek(position: i64, data: *mut c_void) -> opj::OPJ_BOOL {
    // SAFETY: the pointer `encode` set.
    let out = unsafe { &mut *data.cast::<Output>() };
    out.position = position as usize;
    1
}
