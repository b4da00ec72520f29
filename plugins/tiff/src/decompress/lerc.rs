//! LERC (libtiff's private compression 34887): each block is a LERC file, maybe compressed once more.
//!
//! Samples without a value (LERC masks them) are NaN if they are floating point and 0 if they are integers.

use std::borrow::Cow;
use std::io::Read;

use iiphost_plugin_api::DecodeError;
use lerc::bitmask::BitMask;
use lerc::{LercInfo, SampleData};

use super::deflate::Deflate;
use crate::layout::SampleKind::{Float, Signed, Unsigned};
use crate::layout::{BlockSize, Layout};
use crate::scratch::resized;

/// Values of the second LercParameter.
const WRAPPED_IN_DEFLATE: u32 = 1;
const WRAPPED_IN_ZSTANDARD: u32 = 2;

pub(super) fn decompress(
    layout: &Layout,
    encoded: &[u8],
    stored: &mut [u8],
    size: BlockSize,
) -> Result<(), DecodeError> {
    let blob = unwrapped(layout, encoded, stored.len())?;
    let failed = |error: lerc::LercError| DecodeError::format(format!("LERC data: {error}"));
    // The header is checked first: the decoder allocates what it says.
    let info = lerc::decode_info(&blob).map_err(failed)?;
    let order = Order::of(layout, size, &info)?;
    let picture = lerc::decode(&blob).map_err(failed)?;
    let pixels = size.width as usize * size.rows as usize;
    let masks = &picture.valid_masks;
    match (&picture.data, layout.kind, layout.bits) {
        (SampleData::I8(v), Signed, 8) => order.store(v, masks, pixels, stored, 0, i8::to_ne_bytes),
        (SampleData::U8(v), Unsigned, 8) => order.store(v, masks, pixels, stored, 0, u8::to_ne_bytes),
        (SampleData::I16(v), Signed, 16) => order.store(v, masks, pixels, stored, 0, i16::to_ne_bytes),
        (SampleData::U16(v), Unsigned, 16) => order.store(v, masks, pixels, stored, 0, u16::to_ne_bytes),
        (SampleData::I32(v), Signed, 32) => order.store(v, masks, pixels, stored, 0, i32::to_ne_bytes),
        (SampleData::U32(v), Unsigned, 32) => order.store(v, masks, pixels, stored, 0, u32::to_ne_bytes),
        (SampleData::F32(v), Float, 32) => order.store(v, masks, pixels, stored, f32::NAN, f32::to_ne_bytes),
        (SampleData::F64(v), Float, 64) => order.store(v, masks, pixels, stored, f64::NAN, f64::to_ne_bytes),
        _ => Err(DecodeError::format(format!(
            "LERC data of {:?} for {:?} samples of {} bits",
            info.data_type, layout.kind, layout.bits
        ))),
    }
}

/// The LERC file of a block.
fn unwrapped<'e>(
    layout: &Layout,
    encoded: &'e [u8],
    stored_len: usize,
) -> Result<Cow<'e, [u8]>, DecodeError> {
    if layout.codec_options == 0 {
        return Ok(Cow::Borrowed(encoded));
    }
    // Uncompressed samples, their mask and headers; nothing that is right is longer.
    let most = stored_len.saturating_add(stored_len / 4).saturating_add(1 << 16);
    let mut blob = Vec::new();
    match layout.codec_options {
        WRAPPED_IN_DEFLATE => {
            let len = Deflate::default().decompress_up_to(encoded, resized(&mut blob, most)?)?;
            blob.truncate(len);
        }
        WRAPPED_IN_ZSTANDARD => {
            let failed = |error| DecodeError::format(format!("Zstandard data: {error}"));
            let decoder = zstd::stream::read::Decoder::with_buffer(encoded).map_err(failed)?;
            decoder.take(most as u64).read_to_end(&mut blob).map_err(failed)?;
        }
        other => return Err(DecodeError::unsupported(format!("LERC in compression {other}"))),
    }
    Ok(Cow::Owned(blob))
}

/// Opacity of its own, not multiplied into the colors (tag ExtraSamples).
const UNASSOCIATED: u16 = 2;

/// How the samples of a pixel lie in a LERC file.
#[derive(Clone, Copy)]
struct Order {
    /// Samples of a pixel in the block.
    samples: usize,
    /// Values of a pixel side by side in the LERC file.
    depth: usize,
    /// Pictures of such values one after the other.
    bands: usize,
}

impl Order {
    /// The order of a LERC file, if it has the pixels of the block.
    fn of(layout: &Layout, size: BlockSize, info: &LercInfo) -> Result<Self, DecodeError> {
        let samples = u32::from(layout.samples_together());
        let found = (info.width, info.height, info.depth, info.bands);
        // libtiff keeps opacity that is all or nothing as the mask.
        let has_mask_as_alpha = samples > 1
            && layout.extra_samples.as_ref().and_then(|codes| codes.last()) == Some(&UNASSOCIATED);
        let fits = match (info.depth, info.bands) {
            (depth, 1) => depth == samples || has_mask_as_alpha && depth == samples - 1,
            (1, bands) => bands == samples,
            _ => false,
        };
        if (info.width, info.height) != (size.width, size.rows) || !fits {
            return Err(DecodeError::format(format!(
                "LERC of {}x{} pixels, {} x {} samples, expected {}x{}, {samples}",
                found.0, found.1, found.2, found.3, size.width, size.rows
            )));
        }
        Ok(Self {
            samples: samples as usize,
            depth: info.depth as usize,
            bands: info.bands as usize,
        })
    }

    /// Writes the samples of the block, interleaved.
    fn store<T: Copy, const N: usize>(
        self,
        values: &[T],
        masks: &[BitMask],
        pixels: usize,
        stored: &mut [u8],
        missing: T,
        bytes: impl Fn(T) -> [u8; N],
    ) -> Result<(), DecodeError> {
        let Self {
            samples,
            depth,
            bands,
        } = self;
        let too_few =
            || DecodeError::format(format!("LERC with {} samples for {pixels} pixels", values.len()));
        if values.len() != pixels * depth * bands {
            return Err(too_few());
        }
        // The usual case: a value for every sample, in the order of the block.
        if depth == samples && bands == 1 && masks.iter().all(BitMask::is_all_valid) {
            for (out, &value) in stored.chunks_exact_mut(N).zip(values) {
                out.copy_from_slice(&bytes(value));
            }
            return Ok(());
        }
        let opaque = depth * bands < samples;
        for (idx, pixel) in stored.chunks_exact_mut(samples * N).take(pixels).enumerate() {
            for band in 0..bands {
                let is_valid = masks.get(band).is_none_or(|mask| mask.is_valid(idx));
                let from = (band * pixels + idx) * depth;
                let out = pixel[band * N..].chunks_exact_mut(N);
                for (out, &value) in out.zip(&values[from..from + depth]) {
                    out.copy_from_slice(&bytes(if is_valid { value } else { missing }));
                }
                if opaque {
                    pixel[depth * N..].fill(if is_valid { 255 } else { 0 });
                }
            }
        }
        Ok(())
    }
}

/// Blocks of 12 x 7 pixels, encoded by libtiff.
#[cfg(test)]
mod tests {
    use crate::ifd::ByteOrder;
    use crate::test_file::{Image, Values, bytes_of_hex, open, read_level, write};
    use iiphost_plugin_api::DecodeError;

    const BYTES: &str = "4c657263322004000000fad11139070000000c000000030000005400000008000000c8000000010000000000\
         00000000e03f00000000000000000000000000406c4000000000000000e2b442000104000000000100000000\
         00001f000000831f61db1600000000200000001491210298000000286aaaaaaaaa9aaaaaaaaaa6aaaaaaaaa9\
         9aaaaa6afebfaaaafe5ffe5ffe5ffe5fff5ffe5f3333f3ff8033333300000000218400008410420810428821\
         42082184c618638c90638c31420821840000841000000000";
    const BYTES_IN_DEFLATE: &str = "789c4d8b210bc2501cc47feac005c30411dbf69a555f32395e36da870ccb30f90904170c0bda641f40f09fed\
         36b19a2de257b0193679a8e81d1c77dcdd683a8ffb81033c2fcd411d680035600cb8c019a8f0c56dc83fc259\
         f871f783a1e2f01bfbc0d29f5cdb3604406ba3aa5ba09b8888e4567656f6b948521c458ae8cd322a22ad1fe5\
         426b6dcf2a85d433ae6756cab82a3d75e26c1d673deb6d03f002bd533092";
    const SIGNED: &str = "4c657263322004000000e97aa6a6070000000c000000010000005400000008000000d0000000020000000000\
         00000000e03f0000000000209cc0000000000070794000000000f8f897010001f8f88c3808d7725277779c17\
         7ce6b780dc25602a4665758669bd466eb0744d0265524ef55694d55b84c33acf833f1c64446bb448581228a7\
         a22cf522313743362c61157fc119c3911e0e222300b0024c90079c000ce5b010052afa8b1cfe1e39d2dbbedd\
         fd7638c8ad9ca63c2bfa37d01d2f7d51c213a77a3512a8c4253200e88011ca00";
    const FLOATS: &str = "4c65726332200400000003e2d9d1070000000c000000010000005300000008000000a6010000060000000000\
         00000000000000000000000022c000000000000006400b0000000400ffffffeff9ffff0080000010c1000030\
         4001000000000000803e0000003f0000403f0000803f0000a03f0000c03f0000e03f00000040000010400000\
         2040000030400000c0bf0000a0bf000080bf000040bf000000bf000080be000000000000803e0000003f0000\
         403f0000803f0000a03f000040c0000030c0000020c0000000c00000e0bf0000c0bf0000a0bf000080bf0000\
         40bf000000bf000080be000090c0000088c0000080c0000070c0000060c0000050c0000040c0000030c00000\
         20c0000010c0000000c00000e0bf0000c0c00000b8c00000b0c00000a8c00000a0c0000098c0000090c00000\
         88c0000080c0000070c0000060c0000050c00000f0c00000e8c00000e0c00000d8c00000d0c00000c8c00000\
         c0c00000b8c00000b0c00000a8c00000a0c0000098c0000010c100000cc1000008c1000004c1000000c10000\
         f8c00000f0c00000e8c00000e0c00000d8c00000d0c00000c8c0";
    const DOUBLES_IN_ZSTANDARD: &str = "28b52ffd60a7045d0b0046d243384045a703e00d07ca9acb33c449e62c9a439440c8fca964dcf030336a39e8\
         c0ee160d7cb60e7ed291df4e7bb7f461aed33892747bc211960237003b002e00192001d865c4325111d16273\
         92e2df00d6a201e7f3a0c22846bd67dbd91de8ddf5ec2ec5ee7276f7b3bb9dd47602b0bb0220040b8d0b8809\
         2f155e2ebc6478d9f032f452f4b27a69bdbc5eb2c458e426c4999048bc547c82351f289e8382190ea6d99029\
         75c038a41078704cb661949456024c9932658a35096b126cd2b76b87b583edbe5f3fac1fecf79dcd109ca229\
         82b39a159cd6b4e0bce605274f86f365eedcb9f3e7cf9f3f7ffefcf9f3ac6aa6aa7dd5b61a6b04d588d538aa\
         11d668aaf16bdcea08b5a8452d7ad18b5ef4a2015da821209bceb5ec67b083241d1124088a10416ccbb00622\
         4cd3280da6f92017a908c1104c509a56ec054ae27edf158fb59ad28609b25f4f00313d13cddf98a1e231766e\
         3b971f7bff658654902bf5958acd1c51732541e12a";
    const OPACITY: &str = "4c6572633220040000004f736330070000000c000000030000004a0000000800000012010000010000000000\
         00000000e03f00000000000000000000000000406c400c00000005000ff1ff3ff7faffff0080040000e2b442\
         00010400000000010000df000000620100008483080000000000000800000000000800001055555500000000\
         0000200000000050000000080000000000000000000800000000000000000008800000000000000000088407\
         06059c4c21430c0804000000001011545503550954555555015555550550a8aaaa42ff555555e7fff93fcfff\
         cfffffffcfff218410c6210e420884104208638c61208c31c6180821841424841042524a29a5c62ca5941863\
         8c31000030c600000000";

    fn image(bands: u32, bits: u32, format: u16, wrapping: u32, block: &str) -> Image {
        let mut image = Image::new(12, 7, bands, bits)
            .in_strips(7)
            .compressed(34887)
            .tag(50674, Values::Long(vec![4, wrapping]));
        image.sample_format = format;
        image.blocks = Some(vec![bytes_of_hex(block)]);
        image
    }

    /// The same in files of both byte orders.
    fn decoded(image: &Image) -> Result<Vec<u8>, DecodeError> {
        let read = |order| {
            let reader = open(write(std::slice::from_ref(image), order, false))?;
            read_level(&*reader, 0, 0)
        };
        let pixels = read(ByteOrder::Little)?;
        assert!(read(ByteOrder::Big)? == pixels);
        Ok(pixels)
    }

    fn each_pixel(value: impl Fn(u32, u32) -> Vec<u8>) -> Vec<u8> {
        (0..7)
            .flat_map(|y| (0..12).flat_map(|x| value(x, y)).collect::<Vec<u8>>())
            .collect()
    }

    fn colors(x: u32, y: u32) -> Vec<u8> {
        vec![(x * 20 + y) as u8, (y * 30) as u8, (x * y) as u8]
    }

    #[test]
    fn integers_are_exact_bare_and_compressed_once_more() {
        let expected = each_pixel(colors);
        assert_eq!(decoded(&image(3, 8, 1, 0, BYTES)).unwrap(), expected);
        assert_eq!(decoded(&image(3, 8, 1, 1, BYTES_IN_DEFLATE)).unwrap(), expected);
        let expected = each_pixel(|x, y| {
            let value = x as i16 * 37 - y as i16 * 300 + (x * x * y % 11) as i16;
            // Signed samples have half the range added.
            (value as u16 ^ 0x8000).to_ne_bytes().to_vec()
        });
        assert_eq!(decoded(&image(1, 16, 2, 0, SIGNED)).unwrap(), expected);
    }

    #[test]
    fn floating_point_is_exact_and_samples_without_a_value_are_no_number() {
        let expected = each_pixel(|x, y| {
            let value = if (x, y) == (3, 2) {
                f32::NAN
            } else {
                x as f32 * 0.25 - y as f32 * 1.5
            };
            value.to_ne_bytes().to_vec()
        });
        assert_eq!(decoded(&image(1, 32, 3, 0, FLOATS)).unwrap(), expected);
        let expected = each_pixel(|x, y| {
            let values = [f64::from(x) * 0.125 - f64::from(y) * 1e3, 1e-3 * f64::from(x)];
            values.iter().flat_map(|&v| (v as f32).to_ne_bytes()).collect()
        });
        assert_eq!(
            decoded(&image(2, 64, 3, 2, DOUBLES_IN_ZSTANDARD)).unwrap(),
            expected
        );
    }

    #[test]
    fn a_mask_is_the_opacity_of_colors() {
        let expected = each_pixel(|x, y| match x + y < 4 {
            true => vec![0; 4],
            false => [colors(x, y), vec![255]].concat(),
        });
        let image = image(4, 8, 1, 0, OPACITY).tag(338, Values::Short(vec![2]));
        assert_eq!(decoded(&image).unwrap(), expected);
    }

    #[test]
    fn other_sizes_other_samples_and_cut_data_are_refused() {
        let smaller = Image {
            height: 6,
            ..image(3, 8, 1, 0, BYTES).in_strips(6)
        };
        let error = decoded(&smaller).unwrap_err();
        assert!(error.message().contains("LERC of 12x7 pixels"), "{error}");
        assert!(decoded(&image(1, 8, 1, 0, BYTES)).is_err());
        assert!(decoded(&image(1, 16, 1, 0, SIGNED)).is_err());
        assert!(decoded(&image(1, 64, 1, 0, SIGNED)).is_err());
        assert!(decoded(&image(3, 8, 1, 3, BYTES)).is_err());
        for (bands, bits, format, wrapping, block) in [
            (3, 8, 1, 0, BYTES),
            (3, 8, 1, 1, BYTES_IN_DEFLATE),
            (1, 32, 3, 0, FLOATS),
            (2, 64, 3, 2, DOUBLES_IN_ZSTANDARD),
        ] {
            for len in (2..block.len()).step_by(2) {
                assert!(
                    decoded(&image(bands, bits, format, wrapping, &block[..len])).is_err(),
                    "{len}"
                );
            }
        }
    }
}
