//! Fixtures are built in a scratch folder here, so that broken ones can be shown to fail.

use super::*;
use std::collections::HashMap;

/// A crate folder with one golden named `g`; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let root = std::env::temp_dir().join(format!("kinora-testkit-{}-{test}", std::process::id()));
        let fixtures = root.join("tests/fixtures");
        std::fs::create_dir_all(&fixtures).unwrap();
        let floats: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let ids: Vec<u8> = [101_i64, -1].iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensors = vec![
            ("weights.a", TensorView::new(Dtype::F32, vec![2, 1], &floats).unwrap()),
            ("ids", TensorView::new(Dtype::I64, vec![2], &ids).unwrap()),
            ("frame", TensorView::new(Dtype::U8, vec![3], &[7, 8, 9]).unwrap()),
        ];
        let meta = HashMap::from([("config".to_owned(), "{\"layers\":2}".to_owned())]);
        let bytes = safetensors::serialize(tensors, Some(meta)).unwrap();
        std::fs::write(fixtures.join("g.safetensors"), &bytes).unwrap();
        let sha: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        let folder = Self(root);
        folder.write_manifest("g.safetensors", &sha);
        folder
    }

    fn write_manifest(&self, file: &str, sha256: &str) {
        let text = format!(
            r#"{{"fixtures":{{"{file}":{{"sources":{{"torch":"2"}},"script":"s.py","seed":1,"dtype":"f32",
               "sha256":"{sha256}","tolerance":0.001,"bytes":1}}}}}}"#
        );
        std::fs::write(self.0.join("tests/fixtures/manifest.json"), text).unwrap();
    }

    fn panic_of(&self, f: impl FnOnce(&Path)) -> String {
        let run = std::panic::AssertUnwindSafe(|| f(&self.0));
        let panic = std::panic::catch_unwind(run).expect_err("it should have failed");
        panic.downcast_ref::<String>().cloned().unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A scratch folder that stays behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_golden_gives_its_tensors_integers_bytes_and_metadata() {
    let folder = Folder::new("reads");
    let golden = Golden::open(&folder.0, "g");
    let a = golden.tensor("weights.a");
    assert_eq!((a.dims(), a.as_slice()), (&[2, 1][..], &[1.5, -2.0][..]));
    assert_eq!(golden.ints("ids"), [101, -1]);
    assert_eq!(golden.ints("frame"), [7, 8, 9]);
    assert_eq!(golden.bytes("frame"), [7, 8, 9]);
    assert_eq!(golden.shape("frame"), [3]);
    assert_eq!(golden.meta("config"), "{\"layers\":2}");
    assert_eq!(golden.names(), ["frame", "ids", "weights.a"]);
    assert!(golden.has("ids") && !golden.has("weights.b"));
    assert_eq!(golden.tolerance(), 0.001);
    assert!(golden.origin().contains("s.py"));
    let cut = golden.checkpoint_bytes("weights.");
    let cut = SafeTensors::deserialize(&cut).unwrap();
    assert_eq!(cut.names(), ["a"]);
}

#[test]
fn whatever_is_missing_fails_and_says_what() {
    let folder = Folder::new("missing");
    let golden = Golden::open(&folder.0, "g");
    let cases: [(&str, Box<dyn FnOnce(&Path)>); 6] = [
        ("make_all.py", Box::new(|at| drop(Golden::open(at, "other")))),
        ("no tensor `b`", Box::new(|_| drop(golden.tensor("b")))),
        ("is I64", Box::new(|_| drop(golden.tensor("ids")))),
        ("no metadata `seed`", Box::new(|_| drop(golden.meta("seed").to_owned()))),
        (
            "no tensor below `w.`",
            Box::new(|_| drop(golden.checkpoint_bytes("w."))),
        ),
        ("not JSON", Box::new(|at| drop(read_json(at, "g.safetensors")))),
    ];
    for (want, case) in cases {
        let text = folder.panic_of(case);
        assert!(text.contains(want), "wanted `{want}` in: {text}");
    }
}

#[test]
fn a_changed_file_or_a_missing_entry_fails() {
    let folder = Folder::new("changed");
    folder.write_manifest("g.safetensors", "00");
    assert!(
        folder
            .panic_of(|at| drop(Golden::open(at, "g")))
            .contains("not the file that s.py wrote")
    );
    folder.write_manifest("h.safetensors", "00");
    assert!(
        folder
            .panic_of(|at| drop(Golden::open(at, "g")))
            .contains("no entry for `g.safetensors`")
    );
    std::fs::remove_file(folder.0.join("tests/fixtures/manifest.json")).unwrap();
    assert!(
        folder
            .panic_of(|at| drop(Golden::open(at, "g")))
            .contains("missing fixture")
    );
}
