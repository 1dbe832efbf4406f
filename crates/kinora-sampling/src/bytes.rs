//! Bytes of checkpoints, little endian: a magic word, what the owner writes, and FNV-1a-64 of all before.
//!
//! A tensor is rank (u8), extents (u64), elements (f32); an optional tensor has a byte 0 or 1 before it.

use kinora_tensor::{Arena, Shape, Tensor};

use crate::{Error, Result};

pub(crate) fn refuse<T>(reason: &'static str) -> Result<T> {
    Err(Error::Checkpoint { reason })
}

/// A value of these short lists is always found; the position fits in a byte.
pub(crate) fn code<T: PartialEq>(list: &[T], value: &T) -> u8 {
    list.iter().position(|entry| entry == value).unwrap_or(list.len()) as u8
}

pub(crate) fn write_tensor(out: &mut Vec<u8>, tensor: &Tensor) {
    out.push(tensor.dims().len() as u8);
    out.extend(tensor.dims().iter().flat_map(|&extent| (extent as u64).to_le_bytes()));
    out.reserve(tensor.elements() * size_of::<f32>());
    for value in tensor.as_slice() {
        out.extend(value.to_le_bytes());
    }
}

pub(crate) fn write_slot(out: &mut Vec<u8>, slot: Option<&Tensor>) {
    out.push(u8::from(slot.is_some()));
    if let Some(tensor) = slot {
        write_tensor(out, tensor);
    }
}

/// The bytes with their sum.
pub(crate) fn sealed(mut out: Vec<u8>) -> Vec<u8> {
    let sum = fnv1a(&out);
    out.extend(sum.to_le_bytes());
    out
}

/// Fowler, Noll, Vo: finds a file that was cut off or damaged, not one that was forged.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |sum: u64, &byte: &u8| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    arena: &'a Arena,
}

impl<'a> Reader<'a> {
    /// Looks at magic word and sum. **Errors**: [`Error::Checkpoint`].
    pub(crate) fn open(bytes: &'a [u8], magic: &[u8; 8], arena: &'a Arena) -> Result<Self> {
        if !bytes.starts_with(magic) {
            return refuse("it is not one, or of another version");
        }
        let Some((body, sum)) = bytes.split_last_chunk::<8>() else {
            return refuse("it is cut off");
        };
        if fnv1a(body).to_le_bytes() != *sum {
            return refuse("it is cut off or was changed");
        }
        let rest = body.get(magic.len()..).unwrap_or_default();
        Ok(Self { rest, arena })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((chunk, rest)) => {
                self.rest = rest;
                Ok(*chunk)
            }
            None => refuse("it is cut off"),
        }
    }

    pub(crate) fn one_of<T: Copy>(&mut self, list: &[T]) -> Result<T> {
        let [code] = self.take()?;
        list.get(usize::from(code)).copied().ok_or(Error::Checkpoint {
            reason: "it is of another version",
        })
    }

    pub(crate) fn count(&mut self) -> Result<usize> {
        let count = u64::from_le_bytes(self.take()?);
        usize::try_from(count).or_else(|_| refuse("its parts do not fit together"))
    }

    pub(crate) fn number(&mut self) -> Result<f64> {
        self.take().map(f64::from_le_bytes)
    }

    pub(crate) fn tensor(&mut self) -> Result<Tensor> {
        let [rank] = self.take()?;
        if usize::from(rank) > Shape::MAX_RANK {
            return refuse("its parts do not fit together");
        }
        let dims = (0..rank).map(|_| self.count()).collect::<Result<Vec<_>>>()?;
        let bytes = Shape::new(&dims)?.elements() * size_of::<f32>();
        // Looked at before memory is taken: the extents come from a file.
        let Some((data, rest)) = self.rest.split_at_checked(bytes) else {
            return refuse("it is cut off");
        };
        self.rest = rest;
        let mut tensor = Tensor::zeros_in(self.arena, &dims)?;
        for (value, bytes) in tensor.as_mut_slice().iter_mut().zip(data.as_chunks::<4>().0) {
            *value = f32::from_le_bytes(*bytes);
        }
        Ok(tensor)
    }

    pub(crate) fn slot(&mut self) -> Result<Option<Tensor>> {
        Ok(if self.one_of(&[false, true])? {
            Some(self.tensor()?)
        } else {
            None
        })
    }
}
