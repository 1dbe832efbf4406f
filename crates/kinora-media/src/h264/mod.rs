//! H.264: the bridge to the pure-Rust codec `rusty_h264`, and what it leaves to us (VUI, splitting, display order).
//!
//! `encode` turns frames into access units, `decode` goes back, `sps` reads and rewrites the sequence header, `bits` reads
//! and writes single bits. NAL units travel without start codes; a start code is added only at the codec's door.

mod bits;
mod decode;
mod encode;
mod sps;

pub(crate) use decode::H264Decoder;
pub(crate) use encode::{AccessUnit, H264Encoder};
pub(crate) use sps::Sps;

/// The five low bits of a NAL unit's first byte.
pub(crate) fn nal_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |b| b & 31)
}

/// Splits a byte stream with start codes into NAL units.
pub(crate) fn split_annex_b(stream: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut i = 0;
    while i + 3 <= stream.len() {
        if stream[i..i + 3] == [0, 0, 1] {
            starts.push(i + 3);
            i += 3;
        } else {
            i += 1;
        }
    }
    let ends = starts.iter().skip(1).map(|s| s - 3).chain([stream.len()]);
    let nals = starts.iter().zip(ends).map(|(&s, e)| {
        let zeros = stream[s..e].iter().rev().take_while(|&&b| b == 0).count();
        &stream[s..e - zeros]
    });
    nals.filter(|n| !n.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn start_codes_of_both_lengths_split() {
        let s = [0, 0, 0, 1, 0x67, 9, 0, 0, 1, 0x68, 7, 0, 0, 0, 1, 0x65];
        assert_eq!(super::split_annex_b(&s), [&[0x67, 9][..], &[0x68, 7], &[0x65]]);
        assert!(super::split_annex_b(&[1, 2, 3]).is_empty());
    }
}
