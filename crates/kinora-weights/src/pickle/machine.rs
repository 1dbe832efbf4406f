//! The interpreter: the instructions of pickle that build plain values, and nothing that could run anything.
//!
//! **Source**: the instructions as Python's `pickletools` describes them (facts, not code); protocols 2 to 5.
//!
//! Values are nodes in one list and refer to each other by number, so nothing here recurses, whatever the nesting, and a value
//! that is used a million times exists once. Memory is bounded by the length of the pickle and [`MAX_NODES`].

use std::collections::HashMap;

use super::globals::{self, Element, Global};
use super::{Broken, PickleError};

/// Values of one pickle; a checkpoint has about thirty for each tensor.
const MAX_NODES: usize = 2_000_000;
/// Axes of a tensor.
const MAX_RANK: usize = 8;

/// Number of a node.
pub(super) type Id = u32;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// Something that no tensor is made of: floats, bytes, devices.
    Opaque,
    None,
    Int(i64),
    Text(String),
    /// A tuple or a list.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage),
    Tensor(Tensor),
}

/// Bytes beside the pickle.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    pub key: String,
    /// `None` for one of bytes.
    pub element: Option<Element>,
    pub elements: usize,
}

/// A view of a storage.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub storage: Id,
    pub element: Element,
    /// In elements.
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A pickle that was run.
pub(super) struct Outcome {
    pub nodes: Vec<Node>,
    pub root: Id,
    /// Bytes up to and with the last instruction.
    pub length: usize,
}

/// Runs the pickle at the beginning of `bytes`.
pub(super) fn run(file: &str, bytes: &[u8]) -> Result<Outcome, PickleError> {
    let mut machine = Machine {
        bytes,
        at: 0,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied: 0,
    };
    loop {
        let at = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => {
                return Ok(Outcome {
                    nodes: machine.nodes,
                    root,
                    length: machine.at,
                });
            }
            Err(broken) => return Err(broken.at(file, at)),
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Lengths of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Entries of dicts.
    copied: usize,
}

impl Machine<'_> {
    /// One instruction; the root at the last.
    fn step(&mut self) -> Result<Option<Id>, Broken> {
        let [code] = self.take()?;
        match code {
            // PROTO, FRAME
            0x80 => {
                let [version] = self.take()?;
                if !(2..=5).contains(&version) {
                    return Err(format!("protocol {version}").into());
                }
            }
            0x95 => drop(self.take::<8>()?),
            // STOP
            b'.' => return self.pop().map(Some),
            // MARK, POP, POP_MARK, DUP
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            // NONE, NEWTRUE, NEWFALSE
            b'N' => self.push(Node::None)?,
            0x88 | 0x89 => self.push(Node::Opaque)?,
            // BININT, BININT1, BININT2, LONG1, LONG4
            b'J' => {
                let value = i32::from_le_bytes(self.take()?);
                self.push(Node::Int(value.into()))?;
            }
            b'K' => {
                let [value] = self.take()?;
                self.push(Node::Int(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.take()?);
                self.push(Node::Int(value.into()))?;
            }
            0x8a => {
                let [length] = self.take()?;
                self.long(length.into())?;
            }
            0x8b => {
                let length = u32::from_le_bytes(self.take()?);
                self.long(length as usize)?;
            }
            // BINFLOAT
            b'G' => {
                self.take::<8>()?;
                self.push(Node::Opaque)?;
            }
            // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8, BINSTRING, SHORT_BINSTRING
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.take()?);
                self.text(length.into())?;
            }
            0x8c | b'U' => {
                let [length] = self.take()?;
                self.text(length.into())?;
            }
            0x8d => {
                let length = u64::from_le_bytes(self.take()?);
                self.text(length)?;
            }
            // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
            b'B' => {
                let length = u32::from_le_bytes(self.take()?);
                self.skip(length.into())?;
            }
            b'C' => {
                let [length] = self.take()?;
                self.skip(length.into())?;
            }
            0x8e | 0x96 => {
                let length = u64::from_le_bytes(self.take()?);
                self.skip(length)?;
            }
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE, EMPTY_LIST, LIST
            b')' | b']' => self.push(Node::List(Vec::new()))?,
            0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let items = self.pop_many(count)?;
                self.push(Node::List(items))?;
            }
            b't' | b'l' => {
                let items = self.pop_mark()?;
                self.push(Node::List(items))?;
            }
            // APPEND, APPENDS
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b'd' => {
                let items = self.pop_mark()?;
                self.push(Node::Dict(Vec::new()))?;
                self.set_items(&items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(&items)?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_items(&items)?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' => {
                let [place] = self.take()?;
                self.remember(place.into())?;
            }
            b'r' => {
                let place = u32::from_le_bytes(self.take()?);
                self.remember(place)?;
            }
            0x94 => {
                let place = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
                self.remember(place)?;
            }
            b'h' => {
                let [place] = self.take()?;
                self.recall(place.into())?;
            }
            b'j' => {
                let place = u32::from_le_bytes(self.take()?);
                self.recall(place)?;
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Node::Text(module), Node::Text(name)) = (self.node(module).clone(), self.node(name).clone())
                else {
                    return Err("a name that is no text".into());
                };
                self.global(&module, &name)?;
            }
            // REDUCE, NEWOBJ: a call
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let made = self.call(callee, arguments)?;
                self.push(made)?;
            }
            // BUILD: attributes, of which no tensor is made (`_metadata` of a state dict)
            b'b' => {
                self.pop()?;
                self.top()?;
            }
            // BINPERSID
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Node::Storage(storage))?;
            }
            _ => return Err(format!("instruction {code:#04x}, which no checkpoint needs").into()),
        }
        Ok(None)
    }

    fn bytes(&mut self, length: u64) -> Result<&[u8], Broken> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let taken = taken.ok_or("it ends in the middle of an instruction")?;
        self.at += taken.len();
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let bytes = self.bytes(N as u64)?;
        bytes.try_into().map_err(|_| "it is cut off".into())
    }

    fn line(&mut self) -> Result<String, Broken> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|&b| b == b'\n').ok_or("a line without an end")?;
        self.at += end + 1;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    fn text(&mut self, length: u64) -> Result<(), Broken> {
        let text = String::from_utf8_lossy(self.bytes(length)?).into_owned();
        self.push(Node::Text(text))
    }

    fn skip(&mut self, length: u64) -> Result<(), Broken> {
        self.bytes(length)?;
        self.push(Node::Opaque)
    }

    /// A whole number of `length` bytes; one that does not fit 64 bits is no size of anything.
    fn long(&mut self, length: usize) -> Result<(), Broken> {
        let bytes = self.bytes(length as u64)?;
        let sign = match bytes.last() {
            Some(last) if *last >= 0x80 => 0xff,
            _ => 0,
        };
        let mut value = [sign; 8];
        let fits = bytes.len() <= 8;
        if fits {
            value[..bytes.len()].copy_from_slice(bytes);
        }
        self.push(match fits {
            true => Node::Int(i64::from_le_bytes(value)),
            false => Node::Opaque,
        })
    }

    fn node(&self, id: Id) -> &Node {
        self.nodes.get(id as usize).unwrap_or(&Node::Opaque)
    }

    fn push(&mut self, node: Node) -> Result<(), Broken> {
        if self.nodes.len() >= MAX_NODES {
            return Err(Broken::TooLarge(format!("more than {MAX_NODES} values in its pickle")));
        }
        let id = self.nodes.len() as Id; // below MAX_NODES
        self.nodes.push(node);
        self.stack.push(id);
        Ok(())
    }

    fn top(&self) -> Result<Id, Broken> {
        self.stack.last().copied().ok_or_else(|| "an empty stack".into())
    }

    fn pop(&mut self) -> Result<Id, Broken> {
        // What is below a mark belongs to another.
        if self.marks.last().is_some_and(|&mark| self.stack.len() <= mark) {
            return Err("an empty stack above a mark".into());
        }
        self.stack.pop().ok_or_else(|| "an empty stack".into())
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Broken> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        Ok(items)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Broken> {
        let mark = self.marks.pop().ok_or("no mark")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn append(&mut self, items: &[Id]) -> Result<(), Broken> {
        let top = self.top()?;
        match self.nodes.get_mut(top as usize) {
            Some(Node::List(list)) => list.extend_from_slice(items),
            _ => return Err("items for something that is no list".into()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), Broken> {
        let top = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        match self.nodes.get_mut(top as usize) {
            Some(Node::Dict(dict)) if rest.is_empty() => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            _ => return Err("entries for something that is no dict".into()),
        }
        Ok(())
    }

    fn remember(&mut self, place: u32) -> Result<(), Broken> {
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<(), Broken> {
        let id = *self.memo.get(&place).ok_or("a value that was never remembered")?;
        self.stack.push(id);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), Broken> {
        match globals::find(module, name) {
            Some(global) => self.push(Node::Global(global)),
            None => {
                let name: String = format!("{module}.{name}").chars().take(200).collect();
                Err(Broken::Forbidden(name))
            }
        }
    }

    fn call(&mut self, callee: Id, arguments: Id) -> Result<Node, Broken> {
        let (Node::Global(global), Node::List(arguments)) = (self.node(callee), self.node(arguments)) else {
            return Err("a call of something that cannot be called".into());
        };
        if let (Global::OrderedDict, [pairs]) = (global, arguments.as_slice()) {
            return self.pairs(*pairs);
        }
        match (global, arguments.as_slice()) {
            (Global::OrderedDict, []) => Ok(Node::Dict(Vec::new())),
            (Global::RebuildTensor, [storage, offset, size, strides, ..]) => {
                self.tensor(*storage, *offset, *size, *strides, None)
            }
            (Global::RebuildTensorTyped, [storage, offset, size, strides, _, _, kind, ..]) => {
                let Node::Global(Global::Type(element)) = self.node(*kind) else {
                    return Err("a tensor of no known type".into());
                };
                self.tensor(*storage, *offset, *size, *strides, Some(*element))
            }
            (Global::RebuildOfClass, [function, _, arguments, ..]) => match self.node(*function) {
                // Not itself again: this must end.
                Node::Global(Global::RebuildTensor | Global::RebuildTensorTyped) => {
                    let (function, arguments) = (*function, *arguments);
                    self.call(function, arguments)
                }
                _ => Err("a tensor that is made by something else".into()),
            },
            (Global::RebuildParameter, [tensor, ..]) => match self.node(*tensor) {
                Node::Tensor(tensor) => Ok(Node::Tensor(tensor.clone())),
                _ => Err("a parameter that is no tensor".into()),
            },
            (Global::Size, [size]) => Ok(Node::List(self.list(*size)?.to_vec())),
            (Global::Device, _) => Ok(Node::Opaque),
            _ => Err(format!("a call of {global:?} with {} arguments", arguments.len()).into()),
        }
    }

    /// A dict of a list of pairs, as Python 2 wrote it. They are copied, so there is a limit to how often.
    fn pairs(&mut self, pairs: Id) -> Result<Node, Broken> {
        if let Node::List(items) = self.node(pairs) {
            self.copied += items.len();
        }
        if self.copied > MAX_NODES {
            return Err(Broken::TooLarge(format!(
                "more than {MAX_NODES} entries copied in its pickle"
            )));
        }
        let Node::List(items) = self.node(pairs) else {
            return Err("a dict of something that is no list".into());
        };
        let pair = |item: &Id| match self.node(*item) {
            Node::List(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err(Broken::from("a dict of something that is no pair")),
        };
        Ok(Node::Dict(items.iter().map(pair).collect::<Result<_, _>>()?))
    }

    fn tensor(&self, storage: Id, offset: Id, size: Id, strides: Id, element: Option<Element>) -> Result<Node, Broken> {
        let Node::Storage(of) = self.node(storage) else {
            return Err("a tensor without a storage".into());
        };
        let element = element.or(of.element).ok_or("a tensor of no known type")?;
        let (shape, strides) = (self.extents(size)?, self.extents(strides)?);
        if shape.len() != strides.len() {
            return Err("a tensor with other strides than axes".into());
        }
        Ok(Node::Tensor(Tensor {
            storage,
            element,
            offset: self.extent(offset)?,
            shape,
            strides,
        }))
    }

    fn list(&self, id: Id) -> Result<&[Id], Broken> {
        match self.node(id) {
            // Copied for each tensor, so it must be short.
            Node::List(items) if items.len() <= MAX_RANK => Ok(items),
            Node::List(items) => Err(format!("a tensor of {} axes", items.len()).into()),
            _ => Err("a size that is no tuple".into()),
        }
    }

    fn extents(&self, id: Id) -> Result<Vec<usize>, Broken> {
        self.list(id)?.iter().map(|&extent| self.extent(extent)).collect()
    }

    fn extent(&self, id: Id) -> Result<usize, Broken> {
        match self.node(id) {
            Node::Int(value) => usize::try_from(*value).map_err(|_| format!("an extent of {value}").into()),
            _ => Err("an extent that is no number".into()),
        }
    }

    /// `('storage', class, key, device, elements)`, in the legacy format with a sixth part.
    fn storage(&self, id: Id) -> Result<Storage, Broken> {
        let wrong = || Broken::from("a reference to something that is no storage");
        let Node::List(parts) = self.node(id) else {
            return Err(wrong());
        };
        let (&[kind, class, key, _, elements], rest) = parts.split_first_chunk::<5>().ok_or_else(wrong)?;
        if !matches!(self.node(kind), Node::Text(text) if text == "storage") {
            return Err(wrong());
        }
        let element = match self.node(class) {
            Node::Global(Global::Storage(element)) => Some(*element),
            Node::Global(Global::Untyped) => None,
            _ => return Err(wrong()),
        };
        let key = match self.node(key) {
            Node::Text(key) if key.len() <= 100 => key.clone(),
            _ => return Err(wrong()),
        };
        match rest.first().map(|part| self.node(*part)) {
            None | Some(Node::None) => {}
            Some(_) => return Err("a storage that is a part of another".into()),
        }
        Ok(Storage {
            key,
            element,
            elements: self.extent(elements)?,
        })
    }
}
