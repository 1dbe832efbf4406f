//! EBML elements: an id, a size, a payload; and the ids that we use.

pub(super) const EBML: u32 = 0x1A45_DFA3;
pub(super) const DOC_TYPE: u32 = 0x4282;
pub(super) const SEGMENT: u32 = 0x1853_8067;
pub(super) const SEEK_HEAD: u32 = 0x114D_9B74;
pub(super) const SEEK: u32 = 0x4DBB;
pub(super) const SEEK_ID: u32 = 0x53AB;
pub(super) const SEEK_POSITION: u32 = 0x53AC;
pub(super) const INFO: u32 = 0x1549_A966;
pub(super) const TIMESTAMP_SCALE: u32 = 0x002A_D7B1;
pub(super) const DURATION: u32 = 0x4489;
pub(super) const TITLE: u32 = 0x7BA9;
pub(super) const MUXING_APP: u32 = 0x4D80;
pub(super) const WRITING_APP: u32 = 0x5741;
pub(super) const TRACKS: u32 = 0x1654_AE6B;
pub(super) const TRACK_ENTRY: u32 = 0xAE;
pub(super) const TRACK_NUMBER: u32 = 0xD7;
pub(super) const TRACK_UID: u32 = 0x73C5;
pub(super) const TRACK_TYPE: u32 = 0x83;
pub(super) const FLAG_LACING: u32 = 0x9C;
pub(super) const CODEC_ID: u32 = 0x86;
pub(super) const DEFAULT_DURATION: u32 = 0x0023_E383;
pub(super) const VIDEO: u32 = 0xE0;
pub(super) const PIXEL_WIDTH: u32 = 0xB0;
pub(super) const PIXEL_HEIGHT: u32 = 0xBA;
pub(super) const COLOUR: u32 = 0x55B0;
pub(super) const TAGS: u32 = 0x1254_C367;
pub(super) const TAG: u32 = 0x7373;
pub(super) const TARGETS: u32 = 0x63C0;
pub(super) const SIMPLE_TAG: u32 = 0x67C8;
pub(super) const TAG_NAME: u32 = 0x45A3;
pub(super) const TAG_STRING: u32 = 0x4487;
pub(super) const CUES: u32 = 0x1C53_BB6B;
pub(super) const CUE_POINT: u32 = 0xBB;
pub(super) const CUE_TIME: u32 = 0xB3;
pub(super) const CUE_TRACK_POSITIONS: u32 = 0xB7;
pub(super) const CUE_TRACK: u32 = 0xF7;
pub(super) const CUE_CLUSTER_POSITION: u32 = 0xF1;
pub(super) const CLUSTER: u32 = 0x1F43_B675;
pub(super) const TIMESTAMP: u32 = 0xE7;
pub(super) const SIMPLE_BLOCK: u32 = 0xA3;
pub(super) const BLOCK_GROUP: u32 = 0xA0;
pub(super) const BLOCK: u32 = 0xA1;

/// The bytes of an id (its length marker is part of it).
pub(super) fn id_bytes(id: u32) -> Vec<u8> {
    id.to_be_bytes().into_iter().skip_while(|&b| b == 0).collect()
}

/// A size in eight bytes, so that its own length never depends on its value.
pub(super) fn long_size(n: u64) -> [u8; 8] {
    (n | 1 << 56).to_be_bytes()
}

/// Id and size of an element whose payload follows separately.
pub(super) fn head(id: u32, size: u64) -> Vec<u8> {
    [&id_bytes(id)[..], &long_size(size)].concat()
}

/// An element with its size in as few bytes as it takes.
pub(super) fn element(id: u32, payload: &[u8]) -> Vec<u8> {
    let n = payload.len() as u64;
    // All ones means "unknown" and is not a size.
    let width = (1..=8).find(|&w| n < (1 << (7 * w)) - 1).unwrap_or(8);
    let size = (n | 1 << (7 * width)).to_be_bytes();
    [&id_bytes(id)[..], &size[8 - width..], payload].concat()
}

/// An unsigned number in as few bytes as it takes.
pub(super) fn number(id: u32, n: u64) -> Vec<u8> {
    let bytes = n.to_be_bytes();
    let skip = (n.leading_zeros() as usize / 8).min(7);
    element(id, &bytes[skip..])
}

/// A number in eight bytes.
pub(super) fn fixed(id: u32, n: u64) -> Vec<u8> {
    element(id, &n.to_be_bytes())
}

/// Reads an id or size: `(value, length)`; ids keep their marker.
pub(super) fn vint(bytes: &[u8], keep_marker: bool) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    if length > if keep_marker { 4 } else { 8 } {
        return None;
    }
    let raw = bytes.get(..length)?.iter().fold(0u64, |n, &b| n << 8 | u64::from(b));
    let value = raw & ((1u64 << (7 * length)) - 1);
    // A size of all ones is unknown.
    let unknown = !keep_marker && value == (1u64 << (7 * length)) - 1;
    Some((
        if keep_marker {
            raw
        } else if unknown {
            u64::MAX
        } else {
            value
        },
        length,
    ))
}

/// The elements within a payload, up to the first that does not fit.
pub(super) fn children(mut rest: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (id, a) = vint(rest, true)?;
        let (size, b) = vint(rest.get(a..)?, false)?;
        let payload = rest.get(a + b..)?.get(..usize::try_from(size).ok()?)?;
        rest = &rest[a + b + payload.len()..];
        Some((id as u32, payload))
    })
}

/// An unsigned number of up to eight bytes.
pub(super) fn unsigned(payload: &[u8]) -> u64 {
    payload.iter().take(8).fold(0, |n, &b| n << 8 | u64::from(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_back() {
        for n in [0usize, 1, 126, 127, 128, 16_382, 16_383, 70_000] {
            let bytes = element(TAGS, &vec![7; n]);
            let (id, payload) = children(&bytes).next().unwrap();
            assert_eq!((id, payload.len()), (TAGS, n));
        }
        for n in [0, 1, 255, 256, u64::MAX] {
            assert_eq!(children(&number(DURATION, n)).next().map(|e| unsigned(e.1)), Some(n));
        }
        assert_eq!(vint(&long_size(77), false), Some((77, 8)));
        assert_eq!(vint(&[0xff], false), Some((u64::MAX, 1)));
    }
}
