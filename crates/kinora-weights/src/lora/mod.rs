//! LoRAs: small files that change a model, in every dialect that people have, several at once.
//!
//! A LoRA holds for a layer two thin matrices, and W becomes W + strength * alpha / rank * up down (without an alpha:
//! W + strength * up down); or a whole difference, of a bias or a norm: W + strength * diff. [`Lora::open`] reads a file
//! and checks it by itself; [`Checkpoint::with_loras`] checks it against a model and gives a checkpoint whose reader
//! returns the changed weights. Nothing is changed on disk and no second copy of the model is made: the differences are
//! added row by row while a layer is packed, or computed beside it on the fly ([`LoraUse`]).
//!
//! **Source**: what the endings mean was read in diffusers 0.42.1 (`lora_conversion_utils.py`) and ComfyUI; LoRAs made by
//! tools of all these kinds are goldens (`lora_*`, tools/reference/wan_dialects.py).
//!
//! ```no_run
//! use kinora_weights::{Checkpoint, Lora};
//! let model = Checkpoint::open("transformer/diffusion_pytorch_model.safetensors".as_ref())?;
//! let [style, speed] = [Lora::open("style.safetensors".as_ref())?, Lora::open("four_steps.safetensors".as_ref())?];
//! let changed = model.with_loras(&[(style, 0.8), (speed, 1.0)])?;
//! assert!(changed.lora_notes().is_empty());
//! # Ok::<(), kinora_weights::Error>(())
//! ```

mod apply;
mod error;
mod keys;
mod names;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub(crate) use apply::{Changes, Patch};
pub use error::LoraError;

use crate::error::one_of;
use crate::{Checkpoint, Encoding, Error, Result, similar};
use keys::{Key, Role};

/// How LoRAs take part in linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoraUse {
    /// Added to the weights while they are packed, which costs nothing later. Weights that are kept as the file has them
    /// (int8) cannot be changed by less than their steps, so there it is a branch.
    #[default]
    Merged,
    /// Pairs are computed beside the layer, a few percent slower at each step: for weights that are read again and again
    /// from the disk.
    Branch,
}

/// A LoRA, checked by itself. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lora {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    checkpoint: Checkpoint,
    layers: BTreeMap<String, Layer>,
}

/// What the file has for one layer: the names of its tensors.
#[derive(Debug, Default)]
struct Layer {
    /// True where underscores stand for dots in the name of the layer.
    flat: bool,
    tensors: BTreeMap<Role, String>,
    /// Of the pair.
    rank: usize,
    /// alpha / rank, or 1.
    factor: f32,
}

impl Lora {
    /// Opens a LoRA in any dialect: kohya (`lora_unet_blocks_0_...`), diffusers (`transformer.`), Wan-Video
    /// (`diffusion_model.`), peft (`base_model.model.`), or without a prefix; `lora_A` and `lora_B` or `lora_down` and `lora_up`,
    /// with alpha or without, whole differences (`.diff`, `.diff_b`).
    ///
    /// **Errors**: those of [`Checkpoint::open`], and a [`LoraError`] for a file that is no LoRA, another kind of adapter,
    /// half a pair, a value that is not finite.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_checkpoint(Checkpoint::open(path)?)
    }

    /// As [`Lora::open`], for a file that is open already.
    pub fn from_checkpoint(checkpoint: Checkpoint) -> Result<Self> {
        let layers = layers(&checkpoint)?;
        let inner = Arc::new(Inner { checkpoint, layers });
        Ok(Self { inner })
    }

    /// What messages call it: its path, or the name it was given.
    pub fn name(&self) -> &str {
        self.inner.checkpoint.name()
    }

    /// How many layers it changes.
    pub fn layers(&self) -> usize {
        self.inner.layers.len()
    }

    /// The largest rank of its pairs; 0 if there are only whole differences.
    pub fn rank(&self) -> usize {
        self.inner.layers.values().map(|layer| layer.rank).max().unwrap_or(0)
    }

    /// Length of the file in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.inner.checkpoint.size_bytes()
    }

    /// Free-form strings of the file's header: trainers note the base model and trigger words there.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        self.inner.checkpoint.metadata()
    }
}

impl Checkpoint {
    /// The same checkpoint with LoRAs, each with its strength: 1 as it was trained, 0 nothing, negative the opposite.
    /// Tensors that are read through a [`crate::Reader`] come out changed; [`Checkpoint::get`] gives them as they are.
    ///
    /// The checkpoint has the names of diffusers. Layers for the tokens of a picture are left out where the model has none,
    /// with a note in [`Checkpoint::lora_notes`].
    ///
    /// **Errors**: a [`LoraError`] for a tensor of a LoRA that fits nothing (naming the nearest), one of a wrong shape, a
    /// strength that is not finite.
    pub fn with_loras(&self, loras: &[(Lora, f32)]) -> Result<Self> {
        self.with_loras_as(loras, LoraUse::Merged)
    }

    /// As [`Checkpoint::with_loras`], saying how.
    pub fn with_loras_as(&self, loras: &[(Lora, f32)], how: LoraUse) -> Result<Self> {
        if loras.is_empty() {
            return Ok(self.clone());
        }
        let changes = Changes::new(self, loras, how)?;
        Ok(self.with_changes(Arc::new(changes)))
    }

    /// What of the LoRAs was left out, in sentences for a report.
    pub fn lora_notes(&self) -> &[String] {
        self.changes().map_or(&[], |changes| &changes.notes)
    }
}

/// The tensors of a file by layer, each kind complete.
fn layers(checkpoint: &Checkpoint) -> Result<BTreeMap<String, Layer>> {
    let file = || checkpoint.name().to_owned();
    let mut layers: BTreeMap<String, Layer> = BTreeMap::new();
    let mut strangers = Vec::new();
    for name in checkpoint.names() {
        if let Some(kind) = keys::other_adapter(name) {
            let (file, key) = (file(), name.to_owned());
            return Err(LoraError::OtherAdapter { file, key, kind }.into());
        }
        let Some(Key { layer, role, flat }) = keys::parse(name) else {
            strangers.push(name);
            continue;
        };
        check_values(checkpoint, name)?;
        let layer = layers.entry(layer).or_default();
        layer.flat = flat;
        if let Some(first) = layer.tensors.insert(role, name.to_owned()) {
            return Err(unpaired(
                checkpoint,
                name,
                format!("beside `{first}`, which says the same"),
            ));
        }
    }
    match strangers.first() {
        Some(&first) if layers.is_empty() => {
            let first = first.to_owned();
            return Err(LoraError::NotALora { file: file(), first }.into());
        }
        Some(&key) => {
            let ending = key
                .find(".lora")
                .or_else(|| key.rfind('.'))
                .map_or(key, |at| &key[at..]);
            let similar = similar::closest(ending, keys::endings());
            let (file, key) = (file(), key.to_owned());
            return Err(LoraError::UnknownKey { file, key, similar }.into());
        }
        None if layers.is_empty() => {
            let first = "(none)".into();
            return Err(LoraError::NotALora { file: file(), first }.into());
        }
        None => {}
    }
    for layer in layers.values_mut() {
        complete(checkpoint, layer)?;
    }
    Ok(layers)
}

/// Checks that a pair is a pair, and reads its rank and factor.
fn complete(checkpoint: &Checkpoint, layer: &mut Layer) -> Result<()> {
    let (down, up) = (layer.tensors.get(&Role::Down), layer.tensors.get(&Role::Up));
    let (down, up) = match (down, up) {
        (Some(down), Some(up)) => (down, up),
        (Some(one), None) => return Err(unpaired(checkpoint, one, "without its second half".into())),
        (None, Some(one)) => return Err(unpaired(checkpoint, one, "without its first half".into())),
        (None, None) => {
            let rest = [Role::Alpha, Role::UpBias]
                .iter()
                .find_map(|role| layer.tensors.get(role));
            return rest.map_or(Ok(()), |one| Err(unpaired(checkpoint, one, "without a pair".into())));
        }
    };
    let [first, second] = [down, up].map(|name| checkpoint.require(name).map(|raw| raw.shape.to_vec()));
    let (first, second) = (first?, second?);
    let rank = first.first().copied().unwrap_or(0);
    let of_up = second.iter().skip(1).product::<usize>();
    if rank == 0 || first.len() < 2 || second.len() < 2 || of_up != rank {
        let problem = format!("{first:?} and `{up}` {second:?}, which are no pair [rank, in], [out, rank]");
        return Err(unpaired(checkpoint, down, problem));
    }
    layer.rank = rank;
    layer.factor = match layer.tensors.get(&Role::Alpha) {
        Some(alpha) => number(checkpoint, alpha)? / rank as f32,
        None => 1.0,
    };
    Ok(())
}

/// A tensor of one element.
fn number(checkpoint: &Checkpoint, name: &str) -> Result<f32> {
    let raw = checkpoint.require(name)?;
    match raw.shape.iter().product() {
        1 => Ok(checkpoint.reader().tensor(name, raw.shape)?.as_slice()[0]),
        _ => Err(Error::WrongShape {
            file: checkpoint.name().into(),
            tensor: name.into(),
            expected: "one number".into(),
            got: raw.shape.to_vec(),
        }),
    }
}

/// Refuses types that no LoRA has, and values that are not finite.
fn check_values(checkpoint: &Checkpoint, name: &str) -> Result<()> {
    let raw = checkpoint.require(name)?;
    // The exponent has all bits set.
    let halves = |mask: u16| {
        raw.bytes
            .as_chunks::<2>()
            .0
            .iter()
            .all(|&b| u16::from_le_bytes(b) & mask != mask)
    };
    let finite = match raw.encoding {
        Some(Encoding::F32) => {
            let words = raw.bytes.as_chunks::<4>().0;
            words.iter().all(|&b| f32::from_le_bytes(b).is_finite())
        }
        Some(Encoding::F16) => halves(0x7c00),
        Some(Encoding::Bf16) => halves(0x7f80),
        _ => {
            return Err(Error::WrongDtype {
                file: checkpoint.name().into(),
                tensor: name.into(),
                expected: one_of(&[Encoding::F32, Encoding::F16, Encoding::Bf16]),
                got: raw.dtype_name.into(),
            });
        }
    };
    checkpoint.release(name);
    if finite {
        return Ok(());
    }
    let (file, key) = (checkpoint.name().into(), name.into());
    Err(LoraError::NotFinite { file, key }.into())
}

fn unpaired(checkpoint: &Checkpoint, key: &str, problem: String) -> Error {
    let (file, key) = (checkpoint.name().into(), key.into());
    LoraError::Unpaired { file, key, problem }.into()
}
