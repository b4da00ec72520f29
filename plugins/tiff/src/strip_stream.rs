//! Strips too large to be decoded whole: decoded from the top in pieces.
//!
//! A picture of one strip with 20,000 rows would need memory for all of them. Here its rows are decoded in
//! their order and those above the wanted ones are dropped; where a call has ended, the next one goes on if
//! it wants rows below. Memory is that of the wanted rows, and reading a picture from top to bottom decodes
//! it once.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use iiphost_plugin_api::{ByteSource, DecodeError, ReadContext};
use liblzma::stream::{Action, Stream as LzmaStream};
use weezl::BitOrder;
use weezl::decode::{Configuration, Decoder as LzwDecoder};
use zlib_rs::{Inflate, InflateFlush};
use zstd::stream::raw::Operation;

use crate::compression::Compression;
use crate::decompress::{lzma, lzw, too_short};
use crate::scratch::resized;

/// Streams left where they are, for each open image: two threads of an export and two viewers.
const MAX_PARKED: usize = 4;

/// Bytes read from the file at once.
const INPUT_BYTES: u64 = 64 * 1024;

/// Bytes dropped between two questions whether the call should end.
const DROPPED_BYTES: usize = 1 << 20;

/// Directory, row of strips, plane.
pub(crate) type StripKey = (u64, u32, u16);

/// The streams of one open image that are between two calls.
#[derive(Default)]
pub(crate) struct Streams {
    parked: Mutex<Vec<(StripKey, StripStream)>>,
}

impl Streams {
    /// Whether strips of a compression can be decoded in pieces.
    pub(crate) fn can_decode(compression: Compression) -> bool {
        matches!(
            compression,
            Compression::Deflate
                | Compression::Lzw
                | Compression::Lzma
                | Compression::PackBits
                | Compression::Zstd
        )
    }

    /// Fills `out` with decompressed bytes of a strip from `position` on.
    ///
    /// # Errors
    /// `Format` if the strip has fewer bytes or is broken before them, those of the source and the call.
    pub(crate) fn read(
        &self,
        strip: StripKey,
        at: &Place<'_>,
        position: u64,
        out: &mut [u8],
        ctx: &ReadContext<'_>,
    ) -> Result<(), DecodeError> {
        let mut stream = match self.take(strip, position) {
            Some(stream) => stream,
            None => StripStream::new(at)?,
        };
        let mut dropped = Vec::new();
        while stream.position < position {
            ctx.checkpoint()?;
            let len = usize::try_from(position - stream.position).unwrap_or(usize::MAX);
            stream.fill(at, resized(&mut dropped, len.min(DROPPED_BYTES))?)?;
        }
        for piece in out.chunks_mut(DROPPED_BYTES) {
            ctx.checkpoint()?;
            stream.fill(at, piece)?;
        }
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        if parked.len() >= MAX_PARKED {
            parked.remove(0);
        }
        parked.push((strip, stream));
        Ok(())
    }

    /// The stream of a strip that is nearest above a position.
    fn take(&self, strip: StripKey, position: u64) -> Option<StripStream> {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let nearest = parked
            .iter()
            .enumerate()
            .filter(|(_, (key, stream))| *key == strip && stream.position <= position)
            .max_by_key(|(_, (_, stream))| stream.position)
            .map(|(idx, _)| idx)?;
        Some(parked.remove(nearest).1)
    }
}

/// Where a strip is and how it is stored.
pub(crate) struct Place<'a> {
    pub(crate) source: &'a dyn ByteSource,
    pub(crate) bytes: Range<u64>,
    pub(crate) compression: Compression,
    /// The lowest bit of each byte is the first.
    pub(crate) reverse_bits: bool,
}

/// A strip decoded down to some place.
struct StripStream {
    codec: Codec,
    /// Bytes decompressed so far.
    position: u64,
    /// Offset in the file of the first byte that is not in `input`.
    next: u64,
    input: Vec<u8>,
    /// Bytes of `input` that are used up.
    used: usize,
}

impl StripStream {
    fn new(at: &Place<'_>) -> Result<Self, DecodeError> {
        let mut stream = Self {
            codec: Codec::PackBits(PackBits::Control),
            position: 0,
            next: at.bytes.start,
            input: Vec::new(),
            used: 0,
        };
        // One of the forms shows in the first bytes.
        stream.refill(at)?;
        stream.codec = Codec::new(at.compression, &stream.input)?;
        Ok(stream)
    }

    /// Decompresses the next bytes, as many as `out` has.
    fn fill(&mut self, at: &Place<'_>, out: &mut [u8]) -> Result<(), DecodeError> {
        let mut done = 0;
        while done < out.len() {
            if self.used == self.input.len() {
                self.refill(at)?;
            }
            let (read, written) = self.codec.step(&self.input[self.used..], &mut out[done..])?;
            self.used += read;
            done += written;
            // At the end of the input a codec may still hold bytes, but it has to give them now.
            if read == 0 && written == 0 && self.next == at.bytes.end {
                let found = self.position.saturating_add(done as u64);
                let expected = self.position.saturating_add(out.len() as u64);
                return Err(too_short(found as usize, expected as usize));
            }
            if read == 0 && written == 0 && self.used < self.input.len() {
                return Err(DecodeError::format(format!(
                    "{} data stops",
                    at.compression.name()
                )));
            }
        }
        self.position += out.len() as u64;
        Ok(())
    }

    fn refill(&mut self, at: &Place<'_>) -> Result<(), DecodeError> {
        let len = at.bytes.end.saturating_sub(self.next).min(INPUT_BYTES);
        self.input.resize(len as usize, 0);
        at.source.read_exact_at(self.next, &mut self.input)?;
        if at.reverse_bits {
            self.input.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
        }
        self.next += len;
        self.used = 0;
        Ok(())
    }
}

/// A decompressor that can stop anywhere.
enum Codec {
    Deflate(Box<Inflate>),
    Lzw(LzwDecoder),
    Lzma(LzmaStream),
    Zstandard(zstd::stream::raw::Decoder<'static>),
    PackBits(PackBits),
}

impl Codec {
    fn new(compression: Compression, start: &[u8]) -> Result<Self, DecodeError> {
        Ok(match compression {
            Compression::Deflate => Self::Deflate(Box::new(Inflate::new(true, 15))),
            Compression::Zstd => Self::Zstandard(
                zstd::stream::raw::Decoder::new()
                    .map_err(|error| DecodeError::limit(format!("no Zstandard decompressor: {error}")))?,
            ),
            Compression::PackBits => Self::PackBits(PackBits::Control),
            Compression::Lzw => {
                let settings = match lzw::has_low_bit_first(start) {
                    true => Configuration::new(BitOrder::Lsb, 8),
                    false => Configuration::with_tiff_size_switch(BitOrder::Msb, 8),
                };
                Self::Lzw(settings.with_yield_on_full_buffer(true).build())
            }
            Compression::Lzma => Self::Lzma(lzma::decoder()?),
            other => {
                return Err(DecodeError::usage(format!(
                    "{} is not decoded in pieces",
                    other.name()
                )));
            }
        })
    }

    /// Decompresses some bytes: how many were read and written.
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), DecodeError> {
        match self {
            Self::Deflate(inflate) => {
                let before = (inflate.total_in(), inflate.total_out());
                inflate
                    .decompress(input, out, InflateFlush::NoFlush)
                    .map_err(|_| DecodeError::format("corrupt deflate data"))?;
                Ok((
                    (inflate.total_in() - before.0) as usize,
                    (inflate.total_out() - before.1) as usize,
                ))
            }
            Self::Lzw(decoder) => {
                let step = decoder.decode_bytes(input, out);
                match step.status {
                    Err(_) if step.consumed_out == 0 => Err(DecodeError::format("corrupt LZW data")),
                    _ => Ok((step.consumed_in, step.consumed_out)),
                }
            }
            Self::Lzma(stream) => {
                let before = (stream.total_in(), stream.total_out());
                stream
                    .process(input, out, Action::Run)
                    .map_err(|error| DecodeError::format(format!("LZMA data: {error}")))?;
                Ok((
                    (stream.total_in() - before.0) as usize,
                    (stream.total_out() - before.1) as usize,
                ))
            }
            Self::Zstandard(decoder) => {
                let status = decoder
                    .run_on_buffers(input, out)
                    .map_err(|error| DecodeError::format(format!("Zstandard data: {error}")))?;
                Ok((status.bytes_read, status.bytes_written))
            }
            Self::PackBits(state) => Ok(state.step(input, out)),
        }
    }
}

/// PackBits (TIFF 6.0 section 9) between two bytes.
enum PackBits {
    /// A control byte comes next.
    Control,
    /// So many bytes follow as they are.
    Literal(usize),
    /// The next byte stands for so many.
    Run(usize),
    /// So many more of this byte.
    Repeat(usize, u8),
}

impl PackBits {
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> (usize, usize) {
        let (mut read, mut written) = (0, 0);
        while written < out.len() {
            *self = match *self {
                Self::Repeat(left, byte) => {
                    let count = left.min(out.len() - written);
                    out[written..written + count].fill(byte);
                    written += count;
                    if count == left {
                        Self::Control
                    } else {
                        Self::Repeat(left - count, byte)
                    }
                }
                _ if read == input.len() => break,
                Self::Literal(left) => {
                    let count = left.min(out.len() - written).min(input.len() - read);
                    out[written..written + count].copy_from_slice(&input[read..read + count]);
                    (read, written) = (read + count, written + count);
                    if count == left {
                        Self::Control
                    } else {
                        Self::Literal(left - count)
                    }
                }
                Self::Run(count) => {
                    read += 1;
                    Self::Repeat(count, input[read - 1])
                }
                Self::Control => {
                    read += 1;
                    match input[read - 1] as i8 {
                        -128 => Self::Control,
                        control @ 0.. => Self::Literal(control as usize + 1),
                        control => Self::Run(1 + usize::from(control.unsigned_abs())),
                    }
                }
            };
        }
        (read, written)
    }
}

#[cfg(test)]
mod tests {
    use crate::ifd::ByteOrder;
    use crate::test_file::{Counted, Image, Values, jpeg, open, open_source, read_region, write};
    use iiphost_plugin_api::{
        CallContext, ErrorKind, ImageReader, Limits, PixelBuffer, PlainServices, ReadRequest, Region,
        SampleFormat,
    };
    use std::sync::{Arc, LazyLock};
    use std::time::Duration;

    const WIDTH: u32 = 1000;
    const HEIGHT: u32 = 9001;

    /// Slopes that change from row to row.
    static PIXELS: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let slope: Vec<u8> = (0..2 * WIDTH).map(|x| (x / 3) as u8).collect();
        (0..HEIGHT)
            .flat_map(|y| &slope[(y * 7 % WIDTH) as usize..][..WIDTH as usize])
            .copied()
            .collect()
    });

    /// One strip of nine megabytes.
    fn image(compression: u16) -> Image {
        let block = Image::new(1, 1, 1, 8).compressed(compression).block_of(&PIXELS);
        of_block(compression, HEIGHT, block)
    }

    fn of_block(compression: u16, height: u32, block: Vec<u8>) -> Image {
        let mut image = Image::new(1, 1, 1, 8).compressed(compression).in_strips(height);
        (image.width, image.height) = (WIDTH, height);
        image.blocks = Some(vec![block]);
        image
    }

    fn check(reader: &dyn ImageReader, region: Region) {
        let expected: Vec<u8> = (region.y..region.y + region.height)
            .flat_map(|y| &PIXELS[(y * WIDTH + region.x) as usize..][..region.width as usize])
            .copied()
            .collect();
        let found = read_region(reader, 0, 0, region).unwrap();
        assert!(found == expected, "{region:?}");
    }

    #[test]
    fn a_picture_of_one_strip_is_read_anywhere_and_from_top_to_bottom_once() {
        for compression in [5, 8, 32773, 34925, 50000] {
            let file = write(&[image(compression)], ByteOrder::Little, false);
            let len = file.len() as u64;
            let source = Arc::new(Counted::new(file));
            let reader = open_source(source.clone()).unwrap();
            for y in (0..HEIGHT).step_by(256) {
                let height = 256.min(HEIGHT - y);
                for x in [0, 512] {
                    check(&*reader, Region::new(x, y, 256, height));
                }
            }
            assert!(
                source.bytes_read() < len + len / 10 + 10_000,
                "{compression}: {} of {len}",
                source.bytes_read()
            );
            // Upwards, across groups, whole rows.
            check(&*reader, Region::new(7, 8990, 11, 11));
            check(&*reader, Region::new(100, 5000, 300, 700));
            check(&*reader, Region::new(0, 255, WIDTH, 2));
        }
    }

    #[test]
    fn memory_is_that_of_the_wanted_rows() {
        let reader = open(write(&[image(8)], ByteOrder::Big, true)).unwrap();
        let read = |limits, time| {
            let services = PlainServices::with_time(time);
            let ctx = CallContext::new(limits, &services);
            let mut bytes = vec![0; 100 * 100];
            let mut out = PixelBuffer::new(&mut bytes, 100, 100, 1, SampleFormat::U8, 100).unwrap();
            let request = ReadRequest {
                page: 0,
                level: 0,
                region: Region::new(500, 8800, 100, 100),
                quality_layers: 0,
            };
            reader.read(&request, &mut out, &ctx)
        };
        let limits = |max_pixels, max_bytes| Limits {
            max_pixels,
            max_bytes,
            max_threads: 1,
        };
        let minute = Duration::from_secs(60);
        read(limits(9_001_000, 1 << 20), minute).unwrap();
        // Rows above count as decoded, and take time.
        let refused = read(limits(1_000_000, 1 << 20), minute).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
        let late = read(limits(9_001_000, 1 << 20), Duration::ZERO).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::DeadlineExceeded);
    }

    #[test]
    fn a_broken_strip_gives_the_rows_before_the_fault() {
        for compression in [5, 8, 32773, 34925, 50000] {
            let mut cut = image(compression);
            if let Some(blocks) = &mut cut.blocks {
                let half = blocks[0].len() / 2;
                blocks[0].truncate(half);
            }
            let reader = open(write(&[cut], ByteOrder::Little, false)).unwrap();
            check(&*reader, Region::new(0, 100, WIDTH, 50));
            let error = read_region(&*reader, 0, 0, Region::new(0, 8999, 10, 2)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Format, "{compression}: {error}");
            check(&*reader, Region::new(0, 0, 30, 30));
        }
    }

    #[test]
    fn what_cannot_be_decoded_in_pieces_is_kept_as_it_is_stored() {
        let height = 8500;
        let pixels: Vec<u8> = (0..height)
            .flat_map(|y| (0..WIDTH).map(move |x| (x / 16 + y / 50) as u8))
            .collect();
        let block = jpeg(&pixels, WIDTH, height, 1, false, (1, 1));
        let file = write(&[of_block(7, height, block)], ByteOrder::Little, false);
        let source = Arc::new(Counted::new(file));
        let reader = open_source(source.clone()).unwrap();
        let is_near = |region: Region| {
            let found = read_region(&*reader, 0, 0, region).unwrap();
            (0..region.height).all(|y| {
                (0..region.width).all(|x| {
                    let pixel = pixels[((region.y + y) * WIDTH + region.x + x) as usize];
                    found[(y * region.width + x) as usize].abs_diff(pixel) < 12
                })
            })
        };
        assert!(is_near(Region::new(300, 8000, 200, 200)));
        let once = source.bytes_read();
        assert!(is_near(Region::new(0, 10, 999, 300)));
        assert_eq!(source.bytes_read(), once);
    }

    #[test]
    fn chroma_with_fewer_samples_is_spread_in_strips_too_large_to_keep_whole() {
        let (width, height) = (1202_u32, 2500_u32);
        let grey = |x: u32, y: u32| (x / 8 + y / 16) as u8;
        // Without color, so that luma is what is shown: in data units, and in planes of their own.
        let mut units = Vec::new();
        for y in (0..height).step_by(2) {
            for x in (0..width).step_by(2) {
                units.extend([
                    grey(x, y),
                    grey(x + 1, y),
                    grey(x, y + 1),
                    grey(x + 1, y + 1),
                    128,
                    128,
                ]);
            }
        }
        let luma: Vec<u8> = (0..height)
            .flat_map(|y| (0..width).map(move |x| grey(x, y)))
            .collect();
        let chroma = vec![128; (width / 2 * height / 2) as usize];
        for (planar, blocks) in [(false, vec![units]), (true, vec![luma, chroma.clone(), chroma])] {
            let mut image = Image::new(width, height, 3, 8)
                .in_strips(height)
                .photometric(6)
                .compressed(8)
                .tag(530, Values::Short(vec![2, 2]));
            image.planar = planar;
            image.blocks = Some(blocks.iter().map(|block| image.block_of(block)).collect());
            let source = Arc::new(Counted::new(write(&[image], ByteOrder::Little, false)));
            let reader = open_source(source.clone()).unwrap();
            for region in [Region::new(700, 2301, 150, 100), Region::new(1, 3, 300, 200)] {
                let found = read_region(&*reader, 0, 0, region).unwrap();
                let rows = region.y..region.y + region.height;
                let expected: Vec<u8> = rows
                    .flat_map(|y| (region.x..region.x + region.width).flat_map(move |x| [grey(x, y); 3]))
                    .collect();
                assert!(found == expected, "planar {planar}, {region:?}");
            }
            let before = source.bytes_read();
            read_region(&*reader, 0, 0, Region::new(0, 0, width, 10)).unwrap();
            assert_eq!(source.bytes_read(), before, "planar {planar}: decoded once");
        }
    }
}
