//! libFuzzer target: bytes as a lora file.
#![no_main]

#[path = "../entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    entry::lora(bytes);
});
