//! From the values of a pickle to tensors: their names, and where their numbers lie.

use std::collections::BTreeMap;
use std::ops::Range;

use super::machine::{self, Id, Node, Outcome, Tensor};
use super::{MAX_PICKLE_BYTES, PickleError, zip};
use crate::header::TensorInfo;

/// Dicts inside dicts.
const MAX_DEPTH: usize = 16;
/// Values that are looked at while the tensors are collected: a dict can be in a million others.
const MAX_VISITS: usize = 4_000_000;
const MAX_NAME: usize = 1000;

/// All tensors of a file.
#[derive(Default)]
pub(super) struct Found {
    /// Those that lie in the file as they are.
    pub mapped: BTreeMap<String, TensorInfo>,
    /// Those whose elements had to be put in order, with their bytes.
    pub copied: BTreeMap<String, (TensorInfo, Vec<u8>)>,
}

/// Where the bytes of a storage lie.
type Storages = BTreeMap<String, Range<usize>>;

/// A zip file: `<name>/data.pkl`, and `<name>/data/<key>` for each storage.
pub(super) fn of_archive(file: &str, bytes: &[u8]) -> Result<Found, PickleError> {
    let entries = zip::entries(file, bytes)?;
    let pickles: Vec<&String> = entries.keys().filter(|name| is_data_pickle(name)).collect();
    let &[pickle] = pickles.as_slice() else {
        return Err(PickleError::NotPyTorch {
            file: file.into(),
            reason: format!("it is a zip file with {} `data.pkl` in it", pickles.len()),
            hint: "give a file of torch.save, or unpack this archive and give what is inside",
        });
    };
    let folder = pickle.strip_suffix("data.pkl").unwrap_or_default();
    if let Some(order) = entries.get(&format!("{folder}byteorder")) {
        let order = bytes.get(order.clone()).unwrap_or_default();
        if order != b"little" {
            return Err(PickleError::NotPyTorch {
                file: file.into(),
                reason: format!(
                    "its byte order is `{}`",
                    String::from_utf8_lossy(order.get(..20).unwrap_or(order))
                ),
                hint: "save it again on a little-endian machine",
            });
        }
    }
    let data = entries
        .get(pickle)
        .and_then(|range| bytes.get(range.clone()))
        .unwrap_or_default();
    check_size(file, data)?;
    let outcome = machine::run(file, data)?;
    let start = format!("{folder}data/");
    let storages = entries
        .iter()
        .filter_map(|(name, range)| Some((name.strip_prefix(&start)?.to_owned(), range.clone())))
        .collect();
    collect(file, bytes, &outcome, &storages)
}

fn is_data_pickle(name: &str) -> bool {
    name.rsplit('/').next() == Some("data.pkl")
}

fn check_size(file: &str, pickle: &[u8]) -> Result<(), PickleError> {
    if pickle.len() <= MAX_PICKLE_BYTES {
        return Ok(());
    }
    Err(PickleError::TooLarge {
        file: file.into(),
        what: format!("a pickle of {} bytes", pickle.len()),
    })
}

/// Five pickles (magic number, version, machine, values, keys of storages), then for each key its length and bytes.
pub(super) fn of_legacy(file: &str, bytes: &[u8]) -> Result<Found, PickleError> {
    let mut at = 0;
    let mut next = || {
        let rest = bytes.get(at..).unwrap_or_default();
        let outcome = machine::run(file, rest.get(..MAX_PICKLE_BYTES).unwrap_or(rest))?;
        at += outcome.length;
        Ok::<_, PickleError>(outcome)
    };
    let (_magic, _version, _machine, values, keys) = (next()?, next()?, next()?, next()?, next()?);
    let damaged = |at: usize, reason: &str| PickleError::Damaged {
        file: file.into(),
        at,
        reason: reason.into(),
    };
    let sizes: BTreeMap<&str, usize> = values
        .nodes
        .iter()
        .filter_map(|node| match node {
            Node::Storage(storage) => Some((storage.key.as_str(), storage.element.map_or(1, |e| e.bytes))),
            _ => None,
        })
        .collect();
    let Some(Node::List(list)) = keys.nodes.get(keys.root as usize) else {
        return Err(damaged(at, "the keys of storages are no list"));
    };
    let mut storages = Storages::new();
    for key in list {
        let Some(Node::Text(key)) = keys.nodes.get(*key as usize) else {
            return Err(damaged(at, "the key of a storage is no text"));
        };
        let size = sizes
            .get(key.as_str())
            .ok_or_else(|| damaged(at, "a storage that nobody refers to"))?;
        let length = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
        let length = length.ok_or_else(|| damaged(at, "the file is cut off"))?;
        let end = usize::try_from(u64::from_le_bytes(*length))
            .ok()
            .and_then(|elements| elements.checked_mul(*size))
            .and_then(|length| length.checked_add(at + 8))
            .filter(|&end| end <= bytes.len());
        let end = end.ok_or_else(|| damaged(at, "the file is cut off in the numbers"))?;
        if storages.insert(key.clone(), at + 8..end).is_some() {
            return Err(damaged(at, "a storage that is there twice"));
        }
        at = end;
    }
    collect(file, bytes, &values, &storages)
}

/// All tensors below the root.
fn collect(file: &str, bytes: &[u8], outcome: &Outcome, storages: &Storages) -> Result<Found, PickleError> {
    let too_large = |what: String| PickleError::TooLarge {
        file: file.into(),
        what,
    };
    let mut tensors: BTreeMap<String, &Tensor> = BTreeMap::new();
    let mut open: Vec<(String, Id, usize)> = vec![(String::new(), outcome.root, 0)];
    let mut visits = 0;
    while let Some((name, id, depth)) = open.pop() {
        let node = outcome.nodes.get(id as usize).unwrap_or(&Node::Opaque);
        let children: Vec<(String, Id)> = match node {
            Node::Tensor(tensor) => {
                let name = if name.is_empty() { "tensor".to_owned() } else { name };
                if tensors.insert(name.clone(), tensor).is_some() {
                    let reason = "it is there twice".into();
                    return Err(bad_tensor(file, &name, reason));
                }
                continue;
            }
            Node::Dict(dict) => {
                let key = |id: &Id| match outcome.nodes.get(*id as usize) {
                    Some(Node::Text(text)) if text.len() <= MAX_NAME => Some(text.clone()),
                    Some(Node::Int(number)) => Some(number.to_string()),
                    _ => None,
                };
                visits += dict.len();
                dict.iter().filter_map(|(k, value)| Some((key(k)?, *value))).collect()
            }
            Node::List(list) => {
                visits += list.len();
                let holds_tensors = |id: &Id| {
                    let node = outcome.nodes.get(*id as usize);
                    matches!(node, Some(Node::Tensor(_) | Node::Dict(_) | Node::List(_)))
                };
                let items = list.iter().enumerate().filter(|(_, id)| holds_tensors(id));
                items.map(|(i, id)| (i.to_string(), *id)).collect()
            }
            _ => continue,
        };
        if depth >= MAX_DEPTH || visits > MAX_VISITS {
            return Err(too_large("values nested without end".into()));
        }
        for (key, id) in children.into_iter().rev() {
            let name = if name.is_empty() { key } else { format!("{name}.{key}") };
            if name.len() > MAX_NAME {
                return Err(too_large(format!("names longer than {MAX_NAME} bytes")));
            }
            open.push((name, id, depth + 1));
        }
    }
    if tensors.is_empty() {
        return Err(PickleError::NotPyTorch {
            file: file.into(),
            reason: "it holds no tensor".into(),
            hint: "give the file with the weights of the model",
        });
    }
    let mut found = Found::default();
    let skip = common_folder(outcome, &tensors).map_or(0, |folder| folder.len() + 1);
    for (name, tensor) in tensors {
        let name = name[skip..].to_owned();
        place(file, bytes, &name, tensor, outcome, storages, &mut found)?;
    }
    Ok(found)
}

/// The key of the only dict of the root that has tensors.
fn common_folder(outcome: &Outcome, tensors: &BTreeMap<String, &Tensor>) -> Option<String> {
    let Some(Node::Dict(root)) = outcome.nodes.get(outcome.root as usize) else {
        return None;
    };
    let text = |id: &Id| match outcome.nodes.get(*id as usize) {
        Some(Node::Text(text)) => Some(text),
        _ => None,
    };
    let is_dict = |id: &Id| matches!(outcome.nodes.get(*id as usize), Some(Node::Dict(_)));
    let folders = root
        .iter()
        .filter(|(_, value)| is_dict(value))
        .filter_map(|(key, _)| text(key));
    let inside = |folder: &str| {
        tensors
            .keys()
            .all(|name| name.strip_prefix(folder).is_some_and(|r| r.starts_with('.')))
    };
    folders.into_iter().find(|folder| inside(folder)).cloned()
}

/// Checks that a tensor stays inside its storage and says where its numbers lie.
fn place(
    file: &str,
    bytes: &[u8],
    name: &str,
    tensor: &Tensor,
    outcome: &Outcome,
    storages: &Storages,
    found: &mut Found,
) -> Result<(), PickleError> {
    let bad = |reason: String| bad_tensor(file, name, reason);
    let Some(Node::Storage(storage)) = outcome.nodes.get(tensor.storage as usize) else {
        return Err(bad("it has no storage".into()));
    };
    let range = storages.get(&storage.key);
    let range = range.ok_or_else(|| bad(format!("its storage `{}` is missing", storage.key)))?;
    let size = tensor.element.bytes;
    let expected = storage.elements.checked_mul(storage.element.map_or(1, |e| e.bytes));
    if expected != Some(range.len()) {
        let reason = format!(
            "its storage has {} bytes, {} elements were announced",
            range.len(),
            storage.elements
        );
        return Err(bad(reason));
    }
    let held = range.len() / size;
    let elements = tensor.shape.iter().try_fold(1_usize, |all, &n| all.checked_mul(n));
    // Position of the last element.
    let last = tensor
        .shape
        .iter()
        .zip(&tensor.strides)
        .try_fold(tensor.offset, |at, (&n, &stride)| {
            n.saturating_sub(1).checked_mul(stride)?.checked_add(at)
        });
    let (elements, last) = elements.zip(last).ok_or_else(|| bad("its size overflows".into()))?;
    if elements > 0 && last >= held {
        return Err(bad(format!(
            "its shape {:?} leaves its storage of {held} elements",
            tensor.shape
        )));
    }
    // A stride of 0 makes much of little.
    if elements > held {
        return Err(bad(format!("it repeats {held} elements to {elements}")));
    }
    let mut info = TensorInfo {
        dtype_name: tensor.element.name.into(),
        shape: tensor.shape.clone(),
        range: 0..elements * size,
    };
    if elements == 0 || is_contiguous(tensor) {
        let start = if elements == 0 {
            range.start
        } else {
            range.start + tensor.offset * size
        };
        info.range = start..start + elements * size;
        found.mapped.insert(name.to_owned(), info);
    } else {
        let data = bytes.get(range.clone()).unwrap_or_default();
        found
            .copied
            .insert(name.to_owned(), (info, in_order(data, tensor, elements)));
    }
    Ok(())
}

/// Whether the elements follow each other, the last axis fastest.
fn is_contiguous(tensor: &Tensor) -> bool {
    let mut expected = 1;
    tensor.shape.iter().zip(&tensor.strides).rev().all(|(&n, &stride)| {
        let fits = n == 1 || stride == expected;
        expected *= n;
        fits
    })
}

/// The elements of a strided view, the last axis fastest. The bounds were checked.
fn in_order(data: &[u8], tensor: &Tensor, elements: usize) -> Vec<u8> {
    let size = tensor.element.bytes;
    let mut out = Vec::with_capacity(elements * size);
    let mut index = vec![0; tensor.shape.len()];
    let mut at = tensor.offset;
    for _ in 0..elements {
        out.extend_from_slice(data.get(at * size..(at + 1) * size).unwrap_or(&[0; 8][..size]));
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            at += tensor.strides[axis];
            if index[axis] < tensor.shape[axis] {
                break;
            }
            at -= index[axis] * tensor.strides[axis];
            index[axis] = 0;
        }
    }
    out
}

fn bad_tensor(file: &str, tensor: &str, reason: String) -> PickleError {
    PickleError::BadTensor {
        file: file.into(),
        tensor: tensor.into(),
        reason,
    }
}
