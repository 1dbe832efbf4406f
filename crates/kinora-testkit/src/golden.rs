//! Opening fixtures: the file, its manifest entry, its hash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kinora_tensor::Tensor;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use crate::parity;

/// The manifest beside the fixtures, as `tools/reference/` writes it.
#[derive(Debug, serde::Deserialize)]
struct Manifest {
    fixtures: BTreeMap<String, Entry>,
}

/// Where one fixture came from.
#[derive(Debug, Clone, serde::Deserialize)]
struct Entry {
    sources: BTreeMap<String, String>,
    script: String,
    seed: u64,
    dtype: String,
    sha256: String,
    tolerance: f32,
}

/// One golden file, read whole and checked against its manifest entry.
#[derive(Debug)]
pub struct Golden {
    /// Folder name of the crate, and the name that the golden was opened by.
    place: [String; 2],
    path: PathBuf,
    entry: Entry,
    meta: BTreeMap<String, String>,
    bytes: Vec<u8>,
}

impl Golden {
    /// Opens `<manifest_dir>/tests/fixtures/<name>.safetensors`; `manifest_dir` is `env!("CARGO_MANIFEST_DIR")`.
    ///
    /// Panics if the file or its entry in `manifest.json` is missing, or if the file is not the one of the entry.
    #[track_caller]
    pub fn open(manifest_dir: impl AsRef<Path>, name: &str) -> Self {
        let manifest_dir = manifest_dir.as_ref();
        let crate_name = manifest_dir.file_name().unwrap_or_default().to_string_lossy();
        let (path, entry, bytes) = checked(manifest_dir, &format!("{name}.safetensors"));
        let meta = SafeTensors::read_metadata(&bytes)
            .unwrap_or_else(|e| panic!("{} is not a safetensors file: {e}", path.display()))
            .1
            .metadata()
            .iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        Self {
            place: [crate_name.into_owned(), name.to_owned()],
            path,
            entry,
            meta,
            bytes,
        }
    }

    /// The largest absolute difference that the manifest allows for this file.
    pub fn tolerance(&self) -> f32 {
        self.look();
        self.entry.tolerance
    }

    /// A sentence for failure messages: who wrote the file and with what.
    pub fn origin(&self) -> String {
        let entry = &self.entry;
        format!(
            "{} with {:?}, seed {}, {}",
            entry.script, entry.sources, entry.seed, entry.dtype
        )
    }

    /// A string from the file's metadata.
    #[track_caller]
    pub fn meta(&self, key: &str) -> &str {
        match self.meta.get(key) {
            Some(value) => value,
            None => panic!(
                "{} has no metadata `{key}`; it has {:?}",
                self.path.display(),
                self.meta.keys()
            ),
        }
    }

    /// True if the file holds a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.file().tensor(name).is_ok()
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.file().names().into_iter().map(String::from).collect();
        names.sort();
        names
    }

    /// A tensor of `f32` with the shape that it has in the file.
    #[track_caller]
    pub fn tensor(&self, name: &str) -> Tensor {
        self.look();
        let view = self.view(name, &[Dtype::F32]);
        let values: Vec<f32> = chunks(view.data()).map(f32::from_le_bytes).collect();
        Tensor::from_slice(&values, view.shape()).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The elements of an integer tensor (u8, i32, i64) in row-major order.
    #[track_caller]
    pub fn ints(&self, name: &str) -> Vec<i64> {
        let view = self.view(name, &[Dtype::U8, Dtype::I32, Dtype::I64]);
        match view.dtype() {
            Dtype::U8 => view.data().iter().map(|&b| i64::from(b)).collect(),
            Dtype::I32 => chunks(view.data()).map(|c| i64::from(i32::from_le_bytes(c))).collect(),
            _ => chunks(view.data()).map(i64::from_le_bytes).collect(),
        }
    }

    /// The bytes of a u8 tensor, for example of a picture.
    #[track_caller]
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.view(name, &[Dtype::U8]).data().to_vec()
    }

    /// The extents of a tensor of any type.
    #[track_caller]
    pub fn shape(&self, name: &str) -> Vec<usize> {
        match self.file().tensor(name) {
            Ok(view) => view.shape().to_vec(),
            Err(_) => self.no_tensor(name),
        }
    }

    /// A whole safetensors file with the tensors below `prefix` (which is cut off), as a checkpoint reader wants it.
    #[track_caller]
    pub fn checkpoint_bytes(&self, prefix: &str) -> Vec<u8> {
        let file = self.file();
        let tensors: Vec<(String, TensorView)> = file
            .iter()
            .filter_map(|(name, view)| Some((name.strip_prefix(prefix)?.to_owned(), view)))
            .collect();
        assert!(
            !tensors.is_empty(),
            "{} has no tensor below `{prefix}`",
            self.path.display()
        );
        safetensors::serialize(tensors, None).expect("tensors of a valid file are valid")
    }

    /// What follows on this thread is compared with this golden.
    fn look(&self) {
        parity::look(|| {
            let [crate_name, golden] = self.place.clone();
            parity::Looked {
                crate_name,
                golden,
                script: self.entry.script.clone(),
                sources: self.entry.sources.clone().into_iter().collect(),
                tolerance: self.entry.tolerance,
            }
        });
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes)
            .unwrap_or_else(|e| panic!("{} is not a safetensors file: {e}", self.path.display()))
    }

    #[track_caller]
    fn view(&self, name: &str, dtypes: &[Dtype]) -> TensorView<'_> {
        let Ok(view) = self.file().tensor(name) else {
            self.no_tensor(name)
        };
        assert!(
            dtypes.contains(&view.dtype()),
            "{}: tensor `{name}` is {:?}, not {dtypes:?}",
            self.path.display(),
            view.dtype()
        );
        view
    }

    #[track_caller]
    fn no_tensor(&self, name: &str) -> ! {
        panic!(
            "{} has no tensor `{name}`; it has {:?}",
            self.path.display(),
            self.names()
        )
    }
}

/// Reads `<manifest_dir>/tests/fixtures/<file>` as JSON after the same checks as [`Golden::open`].
#[track_caller]
pub fn read_json(manifest_dir: impl AsRef<Path>, file: &str) -> crate::Json {
    let (path, _, bytes) = checked(manifest_dir.as_ref(), file);
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{} is not JSON: {e}", path.display()))
}

/// The fixture's bytes, which are those that the manifest promises.
#[track_caller]
fn checked(manifest_dir: &Path, file: &str) -> (PathBuf, Entry, Vec<u8>) {
    let folder = manifest_dir.join("tests/fixtures");
    let path = folder.join(file);
    let bytes = read(&path);
    let manifest_path = folder.join("manifest.json");
    let manifest: Manifest = serde_json::from_slice(&read(&manifest_path))
        .unwrap_or_else(|e| panic!("{} is not a fixture manifest: {e}", manifest_path.display()));
    let Some(entry) = manifest.fixtures.get(file) else {
        panic!(
            "{} has no entry for `{file}`; it lists {:?}",
            manifest_path.display(),
            manifest.fixtures.keys()
        );
    };
    let found: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    assert!(
        found == entry.sha256,
        "{} is not the file that {} wrote:\nsha256 {found}\nwanted {}",
        path.display(),
        entry.script,
        entry.sha256
    );
    (path, entry.clone(), bytes)
}

#[track_caller]
fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| {
        panic!(
            "missing fixture {}: {e}\nhint: tools/reference/make_all.py writes the fixtures",
            path.display()
        )
    })
}

/// Little-endian words; a rest shorter than `N` cannot occur in a checked file.
fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes
        .chunks_exact(N)
        .map(|c| c.try_into().expect("chunks_exact gives N bytes"))
}

#[cfg(test)]
mod tests;
