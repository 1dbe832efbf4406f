//! What the native routes start from: finished videos of the project, and pictures.

use bytes::Bytes;
use kinora_api::{ApiError, Content, ImageSource, VideoId};
use kinora_jobs::State as JobState;
use sha2::{Digest, Sha256};

use super::jobs::job_of;
use crate::answer::{Answer, Failure};
use crate::files::FileRef;
use crate::view::{outcome_of, work_of};
use crate::work::{Outcome, Work};
use crate::{App, Caller};

/// A finished video of the caller's project whose files are there.
///
/// **Errors**: 404: it is not there, not finished, or has expired.
pub(super) async fn finished(app: &App, caller: &Caller, id: &VideoId) -> Answer<(Work, Outcome)> {
    let job = job_of(app, caller, id.as_str()).await?;
    if job.state() != JobState::Succeeded {
        return Err(ApiError::not_ready(id.as_str(), job.state().name()).into());
    }
    let over = job.expires_at.is_some_and(|at| at <= app.clock.now());
    match outcome_of(&job)? {
        Some(outcome) if !over && job.purged_at.is_none() => Ok((work_of(&job)?, outcome)),
        _ => Err(ApiError::expired(id.as_str()).into()),
    }
}

/// Puts a picture of a request where the runner finds it. Equal pictures are one file.
///
/// **Errors**: 501 for a picture that lies elsewhere.
pub(super) async fn import_picture(app: &App, picture: ImageSource) -> Answer<FileRef> {
    let upload = match picture {
        ImageSource::Upload(upload) => upload,
        ImageSource::Url { .. } => return Err(ApiError::not_supported("A picture by its URL in a shot").into()),
        ImageSource::File { .. } => return Err(ApiError::not_supported("A picture by 'file_id' in a shot").into()),
    };
    let bytes = match upload.content {
        Content::Memory(bytes) => bytes,
        Content::File(path) => tokio::fs::read(path).await.map_err(|error| Failure::internal(&error))?,
    };
    let digest = Sha256::digest(&bytes);
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = FileRef(format!("uploads/{name}"));
    app.files.write(&key, Bytes::from(bytes)).await?;
    Ok(key)
}
