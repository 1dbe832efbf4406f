//! The archive around a pickle: a zip file whose entries are stored as they are.
//!
//! **Source**: the format description of zip (APPNOTE 6.3.10, with zip64). PyTorch writes nothing compressed, so an entry
//! is a range of the file and nothing is unpacked: there is no bomb. A name that occurs twice is refused.

use std::collections::BTreeMap;
use std::ops::Range;

use super::PickleError;

const END: [u8; 4] = *b"PK\x05\x06";
const END_64: [u8; 4] = *b"PK\x06\x06";
const END_64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";
/// A checkpoint has an entry for each storage.
const MAX_ENTRIES: u64 = 1_000_000;

/// Entries of the archive by name: where their bytes lie.
pub(super) fn entries(file: &str, bytes: &[u8]) -> Result<BTreeMap<String, Range<usize>>, PickleError> {
    let bad = |reason: &str| PickleError::BadArchive {
        file: file.into(),
        reason: reason.into(),
    };
    let (count, start) = directory(bytes).ok_or_else(|| bad("its end is missing: it was cut off"))?;
    if count > MAX_ENTRIES {
        let what = format!("{count} entries");
        return Err(PickleError::TooLarge {
            file: file.into(),
            what,
        });
    }
    let mut at = start;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let (name, entry, next) = entry(bytes, at).ok_or_else(|| bad("its list of entries is cut off"))?;
        if entry.is_encrypted {
            return Err(bad("an entry is encrypted"));
        }
        if entry.method != 0 {
            return Err(PickleError::NotPyTorch {
                file: file.into(),
                reason: format!("entry `{name}` is compressed, which PyTorch never does"),
                hint: "unpack this archive and give the file inside, or save it again with torch.save",
            });
        }
        let range = data(bytes, &entry).ok_or_else(|| bad(&format!("entry `{name}` leaves the file")))?;
        if entries.insert(name.clone(), range).is_some() {
            return Err(bad(&format!("entry `{name}` is there twice")));
        }
        at = next;
    }
    Ok(entries)
}

/// Number of entries and where their list begins.
fn directory(bytes: &[u8]) -> Option<(u64, usize)> {
    // A comment of up to 64 KiB may follow.
    let from = bytes.len().saturating_sub(22 + 0xffff);
    let end = from + bytes.get(from..)?.windows(4).rposition(|window| window == END)?;
    let (count, start) = (u64::from(u16_at(bytes, end + 10)?), u64::from(u32_at(bytes, end + 16)?));
    if count != 0xffff && start != 0xffff_ffff {
        return Some((count, usize::try_from(start).ok()?));
    }
    let locator = end.checked_sub(20).filter(|&at| starts_with(bytes, at, END_64_LOCATOR));
    let Some(locator) = locator else {
        return Some((count, usize::try_from(start).ok()?));
    };
    let end = usize::try_from(u64_at(bytes, locator + 8)?).ok()?;
    if !starts_with(bytes, end, END_64) {
        return None;
    }
    Some((
        u64_at(bytes, end.checked_add(32)?)?,
        usize::try_from(u64_at(bytes, end.checked_add(48)?)?).ok()?,
    ))
}

struct Entry {
    method: u16,
    is_encrypted: bool,
    size: u64,
    /// Of the header before the data.
    local: u64,
}

/// Name and place of the entry listed at `at`, and where the next one is listed.
fn entry(bytes: &[u8], at: usize) -> Option<(String, Entry, usize)> {
    if !starts_with(bytes, at, ENTRY) {
        return None;
    }
    let [name, extra, comment] = [28, 30, 32].map(|offset| u16_at(bytes, at + offset).map(usize::from));
    let (name, extra, comment) = (name?, extra?, comment?);
    let names = at + 46;
    let text = String::from_utf8_lossy(bytes.get(names..names + name)?).into_owned();
    let mut sizes = [20, 24, 42].map(|offset| u32_at(bytes, at + offset).map(u64::from));
    // Sizes that do not fit are in an extra field, in this order: size, packed size, place.
    let mut wide = wide_numbers(bytes.get(names + name..names + name + extra)?);
    for place in [1, 0, 2] {
        if sizes[place]? == 0xffff_ffff {
            sizes[place] = wide.next();
        }
    }
    let [packed, size, local] = sizes;
    let method = u16_at(bytes, at + 10)?;
    if method == 0 && packed? != size? {
        return None;
    }
    let entry = Entry {
        method,
        is_encrypted: u16_at(bytes, at + 8)? & 1 == 1,
        size: size?,
        local: local?,
    };
    Some((text, entry, names + name + extra + comment))
}

/// The 64-bit numbers of the zip64 field.
fn wide_numbers(mut extra: &[u8]) -> impl Iterator<Item = u64> {
    let mut found: &[u8] = &[];
    while let (Some(id), Some(size)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let Some(field) = extra.get(4..4 + usize::from(size)) else {
            break;
        };
        if id == 1 {
            found = field;
            break;
        }
        extra = &extra[4 + field.len()..];
    }
    found.as_chunks::<8>().0.iter().map(|&b| u64::from_le_bytes(b))
}

/// Where the bytes of an entry lie: behind its own header, whose name and extra field may have other lengths.
fn data(bytes: &[u8], entry: &Entry) -> Option<Range<usize>> {
    let local = usize::try_from(entry.local).ok()?;
    if !starts_with(bytes, local, LOCAL) {
        return None;
    }
    let [name, extra] = [26, 28].map(|offset| u16_at(bytes, local + offset).map(usize::from));
    let start = local + 30 + name? + extra?;
    let end = start.checked_add(usize::try_from(entry.size).ok()?)?;
    (end <= bytes.len()).then_some(start..end)
}

fn starts_with(bytes: &[u8], at: usize, magic: [u8; 4]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(&magic))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
