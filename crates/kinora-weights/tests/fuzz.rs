//! Mutated files against the readers, for a bounded time and without a special compiler: no panic, no hang, no memory beyond what the
//! file accounts for.
//!
//! `cargo test` makes a fixed number of mutations, the same each time; `cargo xtask fuzz --seconds N` goes on for N seconds. An input that
//! gives an answer which no other gave is kept and mutated further. What fails lies in the folder that the message names; put it
//! into `fuzz/regressions/<kind>/`, where it is tried first for ever. Those who have a nightly compiler: `cargo fuzz run <kind>`
//! works on the same corpus.
// The helpers of a test report by panicking, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../fuzz/entry.rs"]
mod entry;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Kinds of files and what reads them.
const KINDS: [(&str, fn(&[u8]) -> String); 4] = [
    ("safetensors", entry::safetensors),
    ("gguf", entry::gguf),
    ("pickle", entry::pickle),
    ("lora", entry::lora),
];
/// Mutations of each kind where no time is given.
const ROUNDS: u64 = 3000;
/// What one input may take. Debug builds on a busy machine are slow; a hang is much longer.
const LONGEST: Duration = Duration::from_secs(5);
/// What reading may allocate at a time beyond a multiple of the input.
const MOST_BYTES: usize = 16 << 20;
/// Inputs that are kept.
const MOST_KEPT: usize = 2000;

/// Counts what this thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator with the same arguments; counting touches two cells without destructors
// and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size, layout.size());
        // SAFETY: the pointer came from `System` with this layout, and the caller keeps the contract for `size`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn note(more: usize, less: usize) {
    // Memory may be freed by another thread than the one that asked for it, so this is a bound, not an account.
    let held = HELD.get().saturating_add(more).saturating_sub(less);
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

/// A small generator of numbers (xorshift64*).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Numbers at which sizes and offsets go wrong.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    7,
    127,
    128,
    255,
    256,
    65_535,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// What readers look for: numbers and types of JSON headers, instructions of pickles.
const TOKENS: [&[u8]; 22] = [
    b"18446744073709551615",
    b"9223372036854775807",
    b"4294967296",
    b"[]",
    b"[0,0]",
    b"[1,1,1,1,1,1,1,1,1]",
    b"\"BF16\"",
    b"\"I8\"",
    b"\"F8_E4M3\"",
    b"\"F4\"",
    b"J\xff\xff\xff\x7f",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x8a\x05\x00\x00\x00\x00\x01",
    b"K\x00",
    b"(",
    b"t",
    b"h\x00",
    b"0",
    b"1",
    b"2",
    b"R",
    b"\x85",
];

/// A few changes at random places.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], draw: &mut Draw) {
    for _ in 0..1 + draw.below(6) {
        let at = draw.below(bytes.len());
        let end = (at + 1 + draw.below(16)).min(bytes.len());
        match draw.below(12) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << draw.below(8);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = draw.next() as u8;
                }
            }
            3 => {
                let edge = EDGES[draw.below(EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][draw.below(4)];
                for (to, from) in bytes.iter_mut().skip(at).zip(&edge[..width]) {
                    *to = *from;
                }
            }
            // Digits of a JSON header.
            4 => {
                let digits = bytes.iter().skip(at).position(u8::is_ascii_digit);
                if let Some(place) = digits {
                    bytes[at + place] = b"0123456789-e.]"[draw.below(14)];
                }
            }
            5 => drop(bytes.drain(at..end)),
            6 => {
                let copy = bytes[at..end].to_vec();
                let to = draw.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            7 => {
                let new: Vec<u8> = (0..draw.below(9)).map(|_| draw.next() as u8).collect();
                bytes.splice(at..at, new);
            }
            8 => bytes.truncate(at),
            // In place of as many bytes, or of one, or between two.
            9 | 10 => {
                let token = TOKENS[draw.below(TOKENS.len())];
                let until = (at + [token.len(), 2, 1, 0][draw.below(4)]).min(bytes.len());
                bytes.splice(at..until, token.iter().copied());
            }
            _ => {
                let from = draw.below(other.len());
                let until = (from + draw.below(64)).min(other.len());
                let to = (at + draw.below(32)).min(bytes.len());
                bytes.splice(at..to, other[from..until].iter().copied());
            }
        }
    }
    bytes.truncate(1 << 16);
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The files of a folder, sorted by name; none if there is no such folder.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// What the process is at, for the watchman: since when, and where the input lies.
static CURRENT: Mutex<Option<(Instant, PathBuf)>> = Mutex::new(None);

/// One kind of file, and where its current input lies.
struct Target {
    kind: &'static str,
    read: fn(&[u8]) -> String,
    place: PathBuf,
    /// Kept open: making a file anew for each input takes longer than reading the input.
    file: File,
}

impl Target {
    fn new(kind: &'static str, read: fn(&[u8]) -> String) -> Self {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{kind}"));
        let file = File::create(&place).unwrap();
        Self {
            kind,
            read,
            place,
            file,
        }
    }

    /// Runs one input; the answer without names and numbers.
    fn attempt(&mut self, bytes: &[u8]) -> String {
        // There before it runs: an abort leaves no time to write.
        self.file.rewind().unwrap();
        self.file.write_all(bytes).unwrap();
        self.file.set_len(bytes.len() as u64).unwrap();
        let begun = Instant::now();
        *CURRENT.lock().unwrap() = Some((begun, self.place.clone()));
        let before = HELD.get();
        PEAK.set(before);
        let answer = catch_unwind(AssertUnwindSafe(|| (self.read)(bytes)));
        let (took, used) = (begun.elapsed(), PEAK.get().saturating_sub(before));
        *CURRENT.lock().unwrap() = None;
        let (kind, at) = (self.kind, self.place.display());
        let answer = answer.unwrap_or_else(|_| panic!("{kind}: a panic (above), with the input {at}"));
        assert!(
            took < LONGEST,
            "{kind}: {took:?} for {} bytes, with the input {at}",
            bytes.len()
        );
        let most = MOST_BYTES + 64 * bytes.len();
        assert!(
            used < most,
            "{kind}: {used} bytes for an input of {}, {at}",
            bytes.len()
        );
        // Names stand in backticks and are as many as there are mutations.
        let words = answer.split('`').step_by(2).flat_map(str::chars);
        words.filter(|c| !c.is_ascii_digit()).take(300).collect()
    }
}

/// Ends the process if an input takes so long that it will not come back.
fn watch() {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let current = CURRENT.lock().unwrap().clone();
            if let Some((since, place)) = current.filter(|(since, _)| since.elapsed() > 4 * LONGEST) {
                eprintln!(
                    "an input takes {:?} and is not ready: {}",
                    since.elapsed(),
                    place.display()
                );
                std::process::abort();
            }
        }
    });
}

#[test]
fn mutated_files_are_refused_or_read_but_never_crash() {
    let seconds: Option<u64> = std::env::var("KINORA_FUZZ_SECONDS")
        .ok()
        .map(|text| text.parse().unwrap());
    watch();
    for (kind, read) in KINDS {
        let corpus = files(&folder().join("corpus").join(kind));
        assert!(corpus.len() > 1, "no corpus for {kind}");
        let regressions = files(&folder().join("regressions").join(kind));
        let mut target = Target::new(kind, read);
        let mut answers = BTreeSet::new();
        for bytes in regressions.iter().chain(&corpus) {
            answers.insert(target.attempt(bytes));
        }
        let mut kept = corpus;
        let mut draw = Draw(0x6b69_6e6f_7261);
        let (begun, mut rounds) = (Instant::now(), 0_u64);
        let limit = seconds.map(|seconds| Duration::from_secs_f64(seconds as f64 / KINDS.len() as f64));
        while limit.map_or(rounds < ROUNDS, |limit| begun.elapsed() < limit) {
            let mut bytes = kept[draw.below(kept.len())].clone();
            let other = draw.below(kept.len());
            mutate(&mut bytes, &kept[other].clone(), &mut draw);
            if answers.insert(target.attempt(&bytes)) && kept.len() < MOST_KEPT {
                kept.push(bytes);
            }
            rounds += 1;
        }
        println!("{kind}: {rounds} mutations, {} different answers", answers.len());
        assert!(answers.len() > 20, "{kind}: the mutations reach nothing");
    }
}
