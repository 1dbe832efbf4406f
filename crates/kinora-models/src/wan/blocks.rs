//! The blocks of a transformer, in memory or read from the checkpoint one after the other.
//!
//! A streamed block is packed by the same code from the same bytes as a resident one, so the numbers are the same. While
//! a block computes, the next is read on a thread of its own; the pages of the checkpoint are given back as soon as a
//! layer is packed. So at most two blocks are in memory, whatever their number.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};

use kinora_weights::{Checkpoint, Reader};

use super::block::Block;
use super::config::Config;
use super::layout::{Part, Place, UNREAD, parts};
use super::options::Residency;
use crate::Result;

pub(super) enum Blocks {
    Resident { main: Vec<Block>, control: Vec<Block> },
    Streamed(Arc<Source>),
}

/// Where streamed blocks come from.
pub(super) struct Source {
    /// Packs in the precision of the blocks.
    reader: Reader,
    config: Config,
    held: Held,
}

/// Bytes of the packed blocks in memory.
#[derive(Default)]
struct Held {
    now: AtomicUsize,
    peak: AtomicUsize,
}

impl Blocks {
    /// Reads the blocks, or makes sure that they can be read.
    ///
    /// **Errors**: a tensor that is missing or has another shape.
    pub(super) fn load(
        checkpoint: &Checkpoint,
        reader: &Reader,
        config: &Config,
        residency: Residency,
    ) -> Result<Self> {
        match residency {
            Residency::Resident => {
                let read = |place| Block::load(reader, config, place);
                let control = config.control_layers().len();
                Ok(Self::Resident {
                    main: (0..config.num_layers)
                        .map(Place::Main)
                        .map(read)
                        .collect::<Result<_>>()?,
                    control: (0..control).map(Place::Control).map(read).collect::<Result<_>>()?,
                })
            }
            Residency::Streamed => {
                for place in Place::all(config) {
                    check(checkpoint, config, place)?;
                }
                Ok(Self::Streamed(Arc::new(Source {
                    reader: reader.clone(),
                    config: config.clone(),
                    held: Held::default(),
                })))
            }
        }
    }

    /// The tensors that are not read yet or never, as [`Reader::finish`] wants them.
    pub(super) fn unread(&self, config: &Config) -> Vec<String> {
        let later = matches!(self, Self::Streamed(_));
        let mut names = Vec::new();
        for place in Place::all(config) {
            names.push(format!("{place}.{UNREAD}"));
            for part in parts(config, place).into_iter().filter(|_| later) {
                names.push(match part {
                    Part::Linear(name, ..) => format!("{place}.{name}.*"),
                    Part::Floats(name, _) => format!("{place}.{name}*"),
                });
            }
        }
        names
    }

    /// The blocks in this order.
    pub(super) fn visit(&self, order: Vec<Place>) -> Visit<'_> {
        let mut visit = Visit {
            blocks: self,
            order: order.into_iter(),
            ahead: None,
        };
        visit.ahead = visit.read_ahead();
        visit
    }

    /// Bytes of the packed blocks in memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Resident { main, control } => main.iter().chain(control).map(Block::bytes).sum(),
            Self::Streamed(source) => source.held.now.load(Ordering::Relaxed),
        }
    }

    /// The largest value that [`Blocks::bytes`] has had.
    pub(super) fn peak_bytes(&self) -> usize {
        match self {
            Self::Resident { .. } => self.bytes(),
            Self::Streamed(source) => source.held.peak.load(Ordering::Relaxed),
        }
    }
}

/// That every tensor of a block is there with its shape, without reading it.
fn check(checkpoint: &Checkpoint, config: &Config, place: Place) -> Result<()> {
    let require = |name: String, expected: &[usize]| -> Result<()> {
        let got = checkpoint.require(&name)?.shape;
        // A linear layer may be stored as a convolution: what counts is the number of rows and their length.
        let fits =
            got.first() == expected.first() && got.iter().product::<usize>() == expected.iter().product::<usize>();
        if fits {
            return Ok(());
        }
        Err(kinora_weights::Error::WrongShape {
            file: checkpoint.name().into(),
            tensor: name,
            expected: format!("{expected:?}"),
            got: got.to_vec(),
        }
        .into())
    };
    for part in parts(config, place) {
        match part {
            Part::Linear(name, outputs, inputs) => require(format!("{place}.{name}.weight"), &[outputs, inputs])?,
            Part::Floats(name, dims) => require(format!("{place}.{name}"), &dims)?,
        }
    }
    Ok(())
}

impl Source {
    fn read(self: &Arc<Self>, place: Place) -> Result<Box<Streamed>> {
        let block = Block::load(&self.reader, &self.config, place)?;
        // Only now is it known which companions of its tensors (scales) the block has read.
        let scope = self.reader.at(place);
        match place {
            Place::Control(0) => scope.finish(&[UNREAD, "proj_in.*"])?,
            _ => scope.finish(&[UNREAD])?,
        }
        let now = self.held.now.fetch_add(block.bytes(), Ordering::Relaxed) + block.bytes();
        self.held.peak.fetch_max(now, Ordering::Relaxed);
        Ok(Box::new(Streamed {
            block,
            source: self.clone(),
        }))
    }
}

/// A block in memory for one use.
pub(super) struct Streamed {
    block: Block,
    source: Arc<Source>,
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.source.held.now.fetch_sub(self.block.bytes(), Ordering::Relaxed);
    }
}

/// A block, wherever it lies.
pub(super) enum Visited<'a> {
    Resident(&'a Block),
    Streamed(Box<Streamed>),
}

impl Deref for Visited<'_> {
    type Target = Block;

    fn deref(&self) -> &Block {
        match self {
            Self::Resident(block) => block,
            Self::Streamed(streamed) => &streamed.block,
        }
    }
}

/// Block after block. Dropping the one before asking for the next keeps two of them in memory.
pub(super) struct Visit<'a> {
    blocks: &'a Blocks,
    order: std::vec::IntoIter<Place>,
    ahead: Option<Ahead>,
}

/// A block that is being read.
struct Ahead {
    place: Place,
    reading: Option<JoinHandle<Result<Box<Streamed>>>>,
}

impl Visit<'_> {
    fn read_ahead(&mut self) -> Option<Ahead> {
        let Blocks::Streamed(source) = self.blocks else {
            return None;
        };
        let place = self.order.next()?;
        let source = source.clone();
        let thread = Builder::new().name(format!("kinora-read-{place}"));
        Some(Ahead {
            place,
            // A system that gives no thread has the block read when its turn comes.
            reading: thread.spawn(move || source.read(place)).ok(),
        })
    }
}

impl<'a> Iterator for Visit<'a> {
    type Item = Result<(Place, Visited<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.blocks {
            Blocks::Resident { main, control } => {
                let place = self.order.next()?;
                let block = match place {
                    Place::Main(i) => &main[i],
                    Place::Control(i) => &control[i],
                };
                Some(Ok((place, Visited::Resident(block))))
            }
            Blocks::Streamed(source) => {
                let Ahead { place, reading } = self.ahead.take()?;
                let block = match reading {
                    Some(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                    None => source.read(place),
                };
                if block.is_ok() {
                    self.ahead = self.read_ahead();
                }
                Some(block.map(|block| (place, Visited::Streamed(block))))
            }
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        // A call that ended early leaves nothing running behind.
        if let Some(thread) = self.ahead.take().and_then(|ahead| ahead.reading) {
            drop(thread.join());
        }
    }
}
