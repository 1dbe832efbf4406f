//! Metadata in `moov/udta/meta/ilst`: title, comment and encoder under their usual names, everything else as a free-form
//! `----` item, which common tools show by its name.

use super::boxes::{Boxes, boxed, find, full};

/// Our names and the box types that everyone uses for them.
const KNOWN: [(&str, [u8; 4]); 3] = [
    ("title", *b"\xa9nam"),
    ("comment", *b"\xa9cmt"),
    ("encoder", *b"\xa9too"),
];

/// The name space of free-form items that the common readers look at.
const MEAN: &[u8] = b"com.apple.iTunes";

/// The `udta` box; empty without entries.
pub(super) fn write(metadata: &[(String, String)]) -> Vec<u8> {
    if metadata.is_empty() {
        return Vec::new();
    }
    let items: Vec<u8> = metadata.iter().flat_map(|(key, value)| item(key, value)).collect();
    let handler = full(b"hdlr", 0, 0, &[&[0; 4], b"mdirappl", &[0; 9]]);
    boxed(
        b"udta",
        &[&full(b"meta", 0, 0, &[&handler, &boxed(b"ilst", &[&items])])],
    )
}

fn item(key: &str, value: &str) -> Vec<u8> {
    // Type 1 is UTF-8 text; the locale is 0.
    let data = full(b"data", 0, 1, &[&[0; 4], value.as_bytes()]);
    match KNOWN.iter().find(|k| k.0 == key) {
        Some((_, kind)) => boxed(kind, &[&data]),
        None => boxed(
            b"----",
            &[
                &full(b"mean", 0, 0, &[MEAN]),
                &full(b"name", 0, 0, &[key.as_bytes()]),
                &data,
            ],
        ),
    }
}

/// All text entries of a `moov` payload.
pub(super) fn read(moov: &[u8]) -> Vec<(String, String)> {
    // `meta` is a full box in MP4 and a plain one in old QuickTime files.
    let Some(meta) = find(moov, &[b"udta", b"meta"]) else {
        return Vec::new();
    };
    let list = meta
        .get(4..)
        .and_then(|m| find(m, &[b"ilst"]))
        .or_else(|| find(meta, &[b"ilst"]));
    Boxes(list.unwrap_or_default())
        .filter_map(|(kind, payload)| entry(kind, payload))
        .collect()
}

fn entry(kind: [u8; 4], payload: &[u8]) -> Option<(String, String)> {
    let data = find(payload, &[b"data"])?;
    if data.get(..4)? != [0, 0, 0, 1] {
        return None;
    }
    let value = String::from_utf8_lossy(data.get(8..)?).into_owned();
    let key = match KNOWN.iter().find(|k| k.1 == kind) {
        Some((name, _)) => (*name).to_string(),
        None if &kind == b"----" => String::from_utf8_lossy(find(payload, &[b"name"])?.get(4..)?).into_owned(),
        None => kind.iter().map(|&b| char::from(b)).collect(),
    };
    Some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_in_order() {
        let list: Vec<(String, String)> = [
            ("title", "Ein Öl-Baum"),
            ("kinora", "{\"seed\":1}"),
            ("comment", ""),
            ("encoder", "Kinora"),
        ]
        .map(|(a, b)| (a.into(), b.into()))
        .into();
        assert_eq!(read(&write(&list)), list);
        assert!(write(&[]).is_empty() && read(b"").is_empty());
    }
}
