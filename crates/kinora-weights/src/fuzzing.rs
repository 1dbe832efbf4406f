//! What a fuzzer calls: everything that reads bytes from outside. None of it may panic, whatever the bytes are.

use crate::folder::ModelJson;
use crate::{Checkpoint, Manifest, recognise, recognise_as, shards};

/// More elements than this are not converted: a fuzzer looks for wrong sizes, not for large ones.
const MOST_ELEMENTS: usize = 1 << 20;

/// A checkpoint of any format: opened, told, renamed, and every tensor of it read.
pub fn checkpoint(bytes: &[u8]) {
    drop(Checkpoint::from_header_bytes("fuzz", bytes.to_vec()).map(|header| tell(&header)));
    if let Ok(checkpoint) = Checkpoint::from_bytes("fuzz", bytes.to_vec()) {
        tell(&checkpoint);
        read(&checkpoint);
    }
}

fn tell(checkpoint: &Checkpoint) {
    drop(recognise(checkpoint));
    if let Ok(found) = recognise_as(checkpoint, None, Some("{}"))
        && let Ok(renamed) = checkpoint.in_diffusers_names(&found)
    {
        for name in renamed.names() {
            drop(renamed.own_name(name));
        }
        read(&renamed);
    }
}

fn read(checkpoint: &Checkpoint) {
    let reader = checkpoint.reader();
    for name in checkpoint.names() {
        let Some(raw) = checkpoint.get(name) else {
            continue;
        };
        let elements: usize = raw.shape.iter().product();
        if elements > MOST_ELEMENTS {
            continue;
        }
        drop(reader.tensor(name, raw.shape));
        drop(reader.expect(name, raw.shape));
        if let (&[rows, _], true) = (raw.shape, elements > 0) {
            drop(reader.rows(name, &[rows as u32 - 1, rows as u32]));
        }
        if let (Some(layer), Some(&rows), true) = (name.strip_suffix(".weight"), raw.shape.first(), elements > 0) {
            drop(reader.linear(layer, rows, elements / rows));
        }
    }
    drop(reader.finish(&[]));
}

/// The JSON files of a model: `manifest.json`, `model.json`, the index of shards.
pub fn json(bytes: &[u8]) {
    drop(Manifest::parse("fuzz", bytes));
    drop(ModelJson::parse("fuzz", bytes));
    drop(shards::parse("fuzz", bytes));
}
