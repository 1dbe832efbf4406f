//! Boxes: a length, a four-letter type, a payload.

/// A box around a payload. Payloads here are headers and tables, far below 4 GiB.
pub(super) fn boxed(kind: &[u8; 4], payload: &[&[u8]]) -> Vec<u8> {
    let size = 8 + payload.iter().map(|p| p.len()).sum::<usize>();
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(&(size as u32).to_be_bytes());
    out.extend_from_slice(kind);
    payload.iter().for_each(|p| out.extend_from_slice(p));
    out
}

/// A box with version and flags in front of its payload.
pub(super) fn full(kind: &[u8; 4], version: u8, flags: u32, payload: &[&[u8]]) -> Vec<u8> {
    let head = (u32::from(version) << 24 | flags).to_be_bytes();
    let mut parts: Vec<&[u8]> = vec![&head];
    parts.extend_from_slice(payload);
    boxed(kind, &parts)
}

/// Big-endian bytes of a row of numbers.
pub(super) fn be32(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    numbers.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// The boxes within a payload, stopping at the first that does not fit.
pub(super) struct Boxes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Boxes<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (size, kind) = (u32_at(self.0, 0)? as usize, self.0.get(4..8)?);
        let (head, size) = match size {
            0 => (8, self.0.len()),
            1 => (16, usize::try_from(u64_at(self.0, 8)?).ok()?),
            n => (8, n),
        };
        let payload = self.0.get(head..size)?;
        let kind = [kind[0], kind[1], kind[2], kind[3]];
        self.0 = &self.0[size..];
        Some((kind, payload))
    }
}

/// The first box of a kind along a path of kinds.
pub(super) fn find<'a>(payload: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(payload, |p, kind| Boxes(p).find(|b| b.0 == **kind).map(|b| b.1))
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_nest_and_are_found() {
        let inner = full(b"tkhd", 1, 3, &[b"abc"]);
        let outer = boxed(b"moov", &[&boxed(b"free", &[]), &boxed(b"trak", &[&inner])]);
        assert_eq!(
            find(&outer, &[b"moov", b"trak", b"tkhd"]),
            Some(&b"\x01\0\0\x03abc"[..])
        );
        assert_eq!(find(&outer, &[b"moov", b"udta"]), None);
    }

    #[test]
    fn impossible_sizes_end_the_walk() {
        for bytes in [
            &b"\0\0\0\x02free"[..],
            b"\0\0\0\xfffree",
            b"\0\0\0\x01free\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0",
        ] {
            assert!(Boxes(bytes).next().is_none());
        }
    }
}
