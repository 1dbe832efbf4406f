//! libFuzzer target: bytes as a pickle file.
#![no_main]

#[path = "../entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    entry::pickle(bytes);
});
