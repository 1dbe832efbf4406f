//! What an error of the pipeline, of files or of the system means for a job: whether to try again, and what its owner hears.
//! Paths of this machine are no business of theirs; the log has them.

use kinora_api::failure as code;
use kinora_jobs::{Failure, Stop};
use kinora_pipeline::{Error, ErrorKind};

use super::request::one_line;
use crate::files::is_full;

const DISK_FULL: &str = "The disk of the server is full.";
const BROKEN: &str = "Something broke while the video was made.";

/// How an attempt ends that the pipeline gave up.
pub(super) fn of_pipeline(error: &Error) -> Stop {
    if is_full(error) {
        tracing::error!(%error, "the disk is full");
        return Stop::TryAgain(Failure::new(code::INTERNAL_ERROR, DISK_FULL));
    }
    tracing::warn!(%error, "an attempt failed");
    let failed = |code, message: String| Stop::Failed(Failure::new(code, message));
    match (error, error.kind()) {
        (Error::NotFinite { step }, _) => {
            let message = format!("The model gave numbers that are none, in step {step}. Another seed may do.");
            failed(code::NUMERICAL_ERROR, message)
        }
        (_, ErrorKind::Memory) => failed(code::OUT_OF_MEMORY, first_line(error)),
        (Error::Input { path, .. } | Error::NotLatents { path, .. }, _) => {
            let text = one_line(&error.to_string());
            failed(
                code::INVALID_INPUT,
                text.replace(&path.display().to_string(), "The input"),
            )
        }
        (_, ErrorKind::Usage | ErrorKind::Input) => failed(code::INVALID_INPUT, one_line(&error.to_string())),
        (_, ErrorKind::Model) => failed(code::INTERNAL_ERROR, "The model cannot be used.".to_owned()),
        (_, ErrorKind::Output | ErrorKind::Cancelled | ErrorKind::Internal) => {
            Stop::TryAgain(Failure::new(code::INTERNAL_ERROR, BROKEN))
        }
    }
}

/// How an attempt ends whose files cannot be stored or read.
pub(super) fn of_files(error: &crate::Error) -> Stop {
    tracing::error!(%error, "files of an attempt failed");
    let message = match error {
        crate::Error::StorageFull { .. } => DISK_FULL,
        _ => BROKEN,
    };
    Stop::TryAgain(Failure::new(code::INTERNAL_ERROR, message))
}

/// How an attempt ends whose temporary files cannot be written.
pub(super) fn of_system(error: &std::io::Error) -> Stop {
    tracing::error!(%error, "temporary files of an attempt failed");
    let message = if is_full(error) { DISK_FULL } else { BROKEN };
    Stop::TryAgain(Failure::new(code::INTERNAL_ERROR, message))
}

/// How an attempt ends whose video is there and cannot be read again.
pub(super) fn of_media(error: &kinora_media::Error) -> Stop {
    tracing::error!(%error, "a finished video cannot be used");
    let message = if is_full(error) { DISK_FULL } else { BROKEN };
    Stop::TryAgain(Failure::new(code::INTERNAL_ERROR, message))
}

/// A defect.
pub(super) fn internal(what: &str, error: &dyn std::fmt::Display) -> Stop {
    tracing::error!(%error, what, "a defect");
    Stop::TryAgain(Failure::new(code::INTERNAL_ERROR, BROKEN))
}

/// An error without its hint, which is for the command line.
fn first_line(error: &Error) -> String {
    let text = error.to_string();
    text.split("\nhint:").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(kind: std::io::ErrorKind) -> kinora_media::Error {
        kinora_media::Error::Io {
            op: "write",
            path: "/srv/secret/video.mp4".into(),
            source: kind.into(),
        }
    }

    #[test]
    fn each_trouble_has_its_code_and_none_tells_a_path() {
        let path = || "/srv/secret/video.mp4".into();
        let cases = [
            (Error::NotFinite { step: 3 }, Some("numerical_error")),
            (
                Error::Memory {
                    needed_bytes: 2,
                    limit_bytes: 1,
                    from: "x",
                    hint: "--size".into(),
                },
                Some("out_of_memory"),
            ),
            (
                Error::Input {
                    path: path(),
                    source: media(std::io::ErrorKind::NotFound),
                },
                Some("invalid_input"),
            ),
            (
                Error::Output {
                    path: path(),
                    source: media(std::io::ErrorKind::StorageFull),
                },
                None,
            ),
            (Error::Media(kinora_media::Error::NoFrames), None),
        ];
        for (error, final_code) in cases {
            let (found, failure) = match of_pipeline(&error) {
                Stop::Failed(failure) => (Some(failure.code.clone()), failure),
                Stop::TryAgain(failure) => (None, failure),
                other => panic!("{other:?}"),
            };
            assert_eq!(found.as_deref(), final_code, "{error}");
            assert!(
                !failure.message.contains("secret") && !failure.message.contains("--"),
                "{failure:?}"
            );
            if is_full(&error) {
                assert_eq!(failure.message, DISK_FULL);
            }
        }
    }
}
