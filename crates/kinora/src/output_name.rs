//! Decides where a clip is written and in which format.

use std::path::{Path, PathBuf};

use kinora_media::Format;

use crate::trouble::Usage;

/// Words that say little about a clip and are left out of its name.
const SMALL_WORDS: [&str; 22] = [
    "a", "an", "the", "of", "in", "on", "at", "to", "over", "under", "through", "and", "with", "from", "by", "is",
    "are", "its", "into", "across", "towards", "for",
];
const MAX_WORDS: usize = 4;
const MAX_NAME_BYTES: usize = 60;

/// What the name depends on.
pub struct Wish<'a> {
    /// The prompt.
    pub prompt: &'a str,
    /// `-o`.
    pub output: Option<&'a Path>,
    /// `--format`.
    pub format: Option<Format>,
    /// Whether one frame is asked for.
    pub still: bool,
    /// How many files there will be.
    pub variants: u32,
    /// Whether a file that is there may be replaced.
    pub overwrite: bool,
}

impl Wish<'_> {
    /// The file (or folder of frames) and its format.
    pub fn settle(&self) -> Result<(PathBuf, Format), Usage> {
        match self.output {
            None => Ok(self.named_after_prompt(Path::new(""))),
            Some(folder) if self.format != Some(Format::PngFrames) && folder.is_dir() => {
                Ok(self.named_after_prompt(folder))
            }
            Some(file) => Ok((file.to_path_buf(), self.format_of(file)?)),
        }
    }

    fn named_after_prompt(&self, folder: &Path) -> (PathBuf, Format) {
        let format = self
            .format
            .unwrap_or(if self.still { Format::Png } else { Format::Mp4 });
        let stem = stem(self.prompt);
        let file = |stem: &str| match format.extension() {
            "" => folder.join(stem),
            ending => folder.join(format!("{stem}.{ending}")),
        };
        let taken = |stem: &str| {
            let numbered = (1..=self.variants)
                .filter(|_| self.variants > 1)
                .map(|i| file(&format!("{stem}-{i}")));
            std::iter::once(file(stem)).chain(numbered).any(|path| path.exists())
        };
        if self.overwrite || !taken(&stem) {
            return (file(&stem), format);
        }
        let free = (2..)
            .map(|i| format!("{stem}-{i}"))
            .find(|stem| !taken(stem))
            .unwrap_or(stem);
        (file(&free), format)
    }

    fn format_of(&self, file: &Path) -> Result<Format, Usage> {
        let shown = file.display();
        if file.extension().is_none() {
            return self.format.ok_or_else(|| {
                let problem = format!("{shown} has no ending that names a format");
                Usage::new(
                    problem,
                    format!("{shown}.mp4, or --format png-frames for a folder of pictures"),
                )
            });
        }
        let by_ending = Format::from_extension(file);
        match (self.format, by_ending) {
            (None, Ok(Format::Png)) if !self.still => {
                let problem = format!("{shown} would hold one picture, but a clip is asked for");
                Err(Usage::new(
                    problem,
                    "add --frames 1, or --format png-frames -o FOLDER for all of them",
                ))
            }
            (None, Ok(format)) => Ok(format),
            (None, Err(error)) => {
                let (problem, hint) = split_hint(&error.to_string());
                Err(Usage::new(format!("{shown}: {problem}"), hint))
            }
            (Some(format), Ok(other)) if format != other => {
                let problem = format!("{shown} ends like {other}, but --format is {format}");
                Err(Usage::new(
                    problem,
                    "leave out --format, or give the file another ending",
                ))
            }
            (Some(format), _) => Ok(format),
        }
    }
}

/// The file of one of several variants: its number stands before the ending, as the library puts it.
pub fn of_variant(output: &Path, variant: u32, variants: u32) -> PathBuf {
    if variants == 1 {
        return output.to_path_buf();
    }
    with_suffix(output, &(variant + 1).to_string())
}

/// `clip.mp4` with a suffix is `clip-SUFFIX.mp4`.
pub fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.file_stem().unwrap_or_default().to_os_string();
    name.push(format!("-{suffix}"));
    if let Some(ending) = file.extension() {
        name.push(".");
        name.push(ending);
    }
    file.with_file_name(name)
}

/// The folder that a file is written into.
pub fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn split_hint(text: &str) -> (String, String) {
    let (problem, hint) = text.split_once("\nhint: ").unwrap_or((text, "try .mp4"));
    (problem.to_owned(), hint.to_owned())
}

/// A file name from the first words that matter: `a red car drives through the desert` is `red-car-drives-desert`.
fn stem(prompt: &str) -> String {
    let lower = prompt.to_lowercase();
    let words = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && !SMALL_WORDS.contains(word));
    let mut name = String::new();
    for word in words.take(MAX_WORDS) {
        let separator = if name.is_empty() { "" } else { "-" };
        if name.len() + separator.len() + word.len() > MAX_NAME_BYTES {
            break;
        }
        name = name + separator + word;
    }
    if name.is_empty() { "clip".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(output: Option<&Path>, format: Option<Format>) -> Wish<'_> {
        Wish {
            prompt: "a red car",
            output,
            format,
            still: false,
            variants: 1,
            overwrite: false,
        }
    }

    #[test]
    fn names_are_made_from_the_words_that_matter() {
        for (prompt, name) in [
            ("A red car drives through the desert!", "red-car-drives-desert"),
            ("../../etc/passwd", "etc-passwd"),
            ("the of a", "clip"),
            ("🚀", "clip"),
            ("كلب يركض", "كلب-يركض"),
            (&"x".repeat(500), "clip"),
        ] {
            assert_eq!(stem(prompt), name);
        }
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let named = |wish: Wish<'_>| {
            wish.settle()
                .unwrap()
                .0
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(named(wish(Some(folder.path()), None)), "red-car.mp4");
        for file in ["red-car.mp4", "red-car-2.mp4"] {
            std::fs::write(folder.path().join(file), b"").unwrap();
        }
        assert_eq!(named(wish(Some(folder.path()), None)), "red-car-3.mp4");
        assert_eq!(named(wish(Some(folder.path()), Some(Format::Gif))), "red-car.gif");
        assert_eq!(
            named(Wish {
                variants: 2,
                ..wish(Some(folder.path()), None)
            }),
            "red-car-3.mp4"
        );
        assert_eq!(
            named(Wish {
                overwrite: true,
                ..wish(Some(folder.path()), None)
            }),
            "red-car.mp4"
        );
        assert_eq!(
            named(Wish {
                still: true,
                ..wish(Some(folder.path()), None)
            }),
            "red-car.png"
        );
    }

    #[test]
    fn variants_are_numbered_before_the_ending() {
        assert_eq!(of_variant(Path::new("out/a.b.mp4"), 0, 1), Path::new("out/a.b.mp4"));
        assert_eq!(of_variant(Path::new("out/a.b.mp4"), 1, 3), Path::new("out/a.b-2.mp4"));
        assert_eq!(of_variant(Path::new("frames"), 0, 2), Path::new("frames-1"));
        assert_eq!(
            (folder(Path::new("a.mp4")), folder(Path::new("x/a.mp4"))),
            (".".into(), "x".into())
        );
    }

    #[test]
    fn the_ending_and_the_flag_must_agree() {
        for (file, format, expected) in [
            ("a.mp4", None, Ok(Format::Mp4)),
            ("a.WEBM", None, Ok(Format::WebM)),
            ("frames", Some(Format::PngFrames), Ok(Format::PngFrames)),
            ("frames", None, Err("no ending")),
            ("a.png", None, Err("--frames 1")),
            ("a.mov", None, Err("mov")),
            ("a.mp4", Some(Format::Gif), Err("--format is gif")),
            ("take.v2", Some(Format::Mp4), Ok(Format::Mp4)),
        ] {
            match (wish(Some(Path::new(file)), format).settle(), expected) {
                (Ok((path, got)), Ok(format)) => assert_eq!((path, got), (PathBuf::from(file), format)),
                (Err(error), Err(word)) => assert!(error.to_string().contains(word), "{file}: {error}"),
                (got, expected) => panic!("{file}: {got:?}, expected {expected:?}"),
            }
        }
    }
}
