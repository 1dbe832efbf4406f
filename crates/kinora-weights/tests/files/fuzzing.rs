//! A short fuzz of everything that reads bytes, from real files: every run tries the same changes.

use std::path::PathBuf;

use kinora_weights::fuzzing;

/// Marsaglia's xorshift: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// Changes some bytes, most of them within `near` the beginning, cuts, or doubles a piece.
fn changed(bytes: &[u8], near: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(near.min(bytes.len()));
        match random.below(8) {
            0 => bytes.truncate(random.below(bytes.len())),
            1 => {
                let piece = bytes[at..(at + random.below(40)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            2 => bytes[at] = [0, 0xff, 0x7f, 0x80, b'"', b'{', b'9', b']'][random.below(8)],
            3 => {
                let end = (at + 8).min(bytes.len());
                bytes[at..end].fill([0, 0xff][random.below(2)]);
            }
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
    bytes
}

#[test]
fn changed_checkpoints_never_panic() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../kinora-models/tests/fixtures/dialects");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for name in [
        "wan_q4_k.gguf",
        "wan_q6_k.gguf",
        "wan_int8.safetensors",
        "wan_fp8_comfy.safetensors",
        "wan_comfy.safetensors",
        "lora_kohya.safetensors",
    ] {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let header = bytes.len().min(8000);
        fuzzing::checkpoint(&bytes);
        for round in 0..60 {
            let near = if round % 4 == 0 { bytes.len() } else { header };
            fuzzing::checkpoint(&changed(&bytes, near, &mut random));
        }
    }
}

#[test]
fn changed_json_never_panics() {
    let texts: [&[u8]; 3] = [
        br#"{"name":"m","parts":{"transformer":"a/b.gguf","vae":"c"},"preset":"p","licence":"MIT"}"#,
        br#"{"name":"m","version":"1","licence":"MIT","files":[{"path":"a","bytes":1,"sha256":"00"}]}"#,
        br#"{"metadata":{"total_size":1},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}"#,
    ];
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for text in texts {
        for _ in 0..2000 {
            fuzzing::json(&changed(text, text.len(), &mut random));
        }
    }
}
