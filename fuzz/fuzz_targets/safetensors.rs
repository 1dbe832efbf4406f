//! libFuzzer target: bytes as a safetensors file.
#![no_main]

#[path = "../entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    entry::safetensors(bytes);
});
