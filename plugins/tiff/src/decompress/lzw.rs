//! LZW (TIFF 6.0 section 13), and the older form with the other bit order.

use iiphost_plugin_api::DecodeError;
use weezl::decode::{Configuration, Decoder};
use weezl::{BitOrder, LzwStatus};

use super::too_short;

/// A decoder used again for each block.
#[derive(Default)]
pub(super) struct Lzw(Option<Decoder>);

impl Lzw {
    pub(super) fn decompress(&mut self, encoded: &[u8], stored: &mut [u8]) -> Result<(), DecodeError> {
        // A stream starts with the clear code, 256 in nine bits: 80 00 with the high bit first. Writers
        // from before TIFF 6.0 stored the low bit first, which shows as 00 01, and widened codes one
        // code later.
        if encoded.first() == Some(&0) && encoded.get(1).is_some_and(|second| second & 1 == 1) {
            let mut old = Configuration::new(BitOrder::Lsb, 8)
                .with_yield_on_full_buffer(true)
                .build();
            return run(&mut old, encoded, stored);
        }
        let decoder = self.0.get_or_insert_with(|| {
            Configuration::with_tiff_size_switch(BitOrder::Msb, 8)
                .with_yield_on_full_buffer(true)
                .build()
        });
        decoder.reset();
        run(decoder, encoded, stored)
    }
}

fn run(decoder: &mut Decoder, mut encoded: &[u8], stored: &mut [u8]) -> Result<(), DecodeError> {
    let mut done = 0;
    while done < stored.len() {
        let step = decoder.decode_bytes(encoded, &mut stored[done..]);
        encoded = &encoded[step.consumed_in..];
        done += step.consumed_out;
        match step.status {
            Ok(LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            Ok(_) => break,
            Err(_) if done == stored.len() => break,
            Err(_) => return Err(DecodeError::format("corrupt LZW data")),
        }
    }
    if done == stored.len() {
        Ok(())
    } else {
        Err(too_short(done, stored.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bit_orders_are_read() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|i| (i * i / 77) as u8).collect();
        let new = weezl::encode::Encoder::with_tiff_size_switch(BitOrder::Msb, 8)
            .encode(&bytes)
            .unwrap();
        let old = weezl::encode::Encoder::new(BitOrder::Lsb, 8)
            .encode(&bytes)
            .unwrap();
        assert_eq!(old[..2], [0, bytes[0] << 1 | 1]);
        let mut codec = Lzw::default();
        for encoded in [&new, &old, &new] {
            let mut stored = vec![0; bytes.len()];
            codec.decompress(encoded, &mut stored).unwrap();
            assert!(stored == bytes);
            let mut longer = vec![0; bytes.len() + 1];
            assert!(codec.decompress(encoded, &mut longer).is_err());
            assert!(
                codec
                    .decompress(&encoded[..encoded.len() / 2], &mut stored)
                    .is_err()
            );
        }
        assert!(codec.decompress(&[], &mut [0; 4]).is_err());
    }
}
