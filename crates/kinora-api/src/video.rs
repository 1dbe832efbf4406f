//! What the ten endpoints answer: videos, pages of them, deletions, characters, and the variants of a video's content.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ApiError, CharacterId, Seconds, Size, VideoId};

/// Declares a type that is one constant text on the wire, the member `object`.
macro_rules! tag {
    ($(#[$doc:meta])* $name:ident, $text:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[schemars(inline)]
        pub enum $name {
            /// The only value.
            #[default]
            #[serde(rename = $text)]
            Tag,
        }
    };
}
pub(crate) use tag;

tag!(
    /// `"video"`.
    VideoTag,
    "video"
);
tag!(
    /// `"list"`.
    ListTag,
    "list"
);
tag!(
    /// `"video.deleted"`.
    DeletedTag,
    "video.deleted"
);
tag!(
    /// `"character"`.
    CharacterTag,
    "character"
);

/// Where a video is. There are only these four: other values break clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VideoStatus {
    /// It waits.
    Queued,
    /// It is being made.
    InProgress,
    /// It can be downloaded.
    Completed,
    /// It will not come; `error` says why. Cancelled videos are failed ones here.
    Failed,
}

impl VideoStatus {
    /// As the wire writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

impl fmt::Display for VideoStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a video failed. The request for it still succeeds: failures of jobs travel in the video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VideoError {
    /// What happened, for programs; [`failure`] lists those that this server uses.
    pub code: String,
    /// What happened, for people.
    pub message: String,
}

/// Codes of videos that failed.
pub mod failure {
    /// Somebody cancelled it.
    pub const CANCELLED: &str = "cancelled";
    /// A rule of this server refused the prompt, an input or the result.
    pub const MODERATION_BLOCKED: &str = "moderation_blocked";
    /// An input could not be read, or not be fetched.
    pub const INVALID_INPUT: &str = "invalid_input";
    /// Memory did not suffice, with every fallback.
    pub const OUT_OF_MEMORY: &str = "out_of_memory";
    /// The model gave numbers that are none.
    pub const NUMERICAL_ERROR: &str = "numerical_error";
    /// It broke its worker too often.
    pub const TOO_MANY_ATTEMPTS: &str = "too_many_attempts";
    /// Something else broke.
    pub const INTERNAL_ERROR: &str = "internal_error";
}

/// A video and the job that makes it. The first thirteen members are OpenAI's and always sent, `null` where there is
/// nothing to say; the others are left out where there is nothing to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Video {
    /// Names it.
    pub id: VideoId,
    /// Always `video`.
    #[serde(default)]
    pub object: VideoTag,
    /// When it was asked for, in seconds since 1970.
    pub created_at: u64,
    /// Where it is.
    pub status: VideoStatus,
    /// When it was finished, in seconds since 1970.
    pub completed_at: Option<u64>,
    /// Why it failed.
    pub error: Option<VideoError>,
    /// Until when its content is kept, in seconds since 1970; `null` until it is finished, and where it is kept forever.
    pub expires_at: Option<u64>,
    /// The model that makes it.
    pub model: String,
    /// How far it is: 0 while it waits, 100 when it is finished.
    #[schemars(range(max = 100))]
    pub progress: u8,
    /// What was asked for.
    pub prompt: Option<String>,
    /// The video that this one was made from by remix.
    pub remixed_from_video_id: Option<VideoId>,
    /// How long it is; of an extension, with the part that was there before.
    pub seconds: Seconds,
    /// Its pictures.
    pub size: Size,

    /// What its noise was drawn from: the same request with this seed gives the same video.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9007199254740991_u64))]
    pub seed: Option<u64>,
    /// Frames in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Frames in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_frames: Option<u32>,
    /// The prompt that the model was given, where it is not the one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revised_prompt: Option<String>,
    /// How long the work took, in seconds, without waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inference_time_s: Option<f64>,
    /// The most memory that the work took, in megabytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_mb: Option<f64>,
}

/// A page of a list, newest or oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct Page<T> {
    /// Always `list`.
    #[serde(default)]
    pub object: ListTag,
    /// What stands on this page.
    pub data: Vec<T>,
    /// The id of the first; `null` on an empty page.
    pub first_id: Option<String>,
    /// The id of the last, which asks for the next page as `after`; `null` on an empty page.
    pub last_id: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// A page of these; `id` gives the id of one.
    pub fn new(data: Vec<T>, has_more: bool, id: impl Fn(&T) -> String) -> Self {
        Self {
            object: ListTag::Tag,
            first_id: data.first().map(&id),
            last_id: data.last().map(&id),
            // Clients that page by themselves would ask for the same page forever.
            has_more: has_more && !data.is_empty(),
            data,
        }
    }
}

/// A page of videos.
pub type VideoList = Page<Video>;

/// The answer to a deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VideoDeleted {
    /// What was deleted.
    pub id: VideoId,
    /// Always `video.deleted`.
    #[serde(default)]
    pub object: DeletedTag,
    /// Always true.
    pub deleted: bool,
}

impl VideoDeleted {
    /// The answer after this video was deleted.
    pub fn new(id: VideoId) -> Self {
        Self {
            id,
            object: DeletedTag::Tag,
            deleted: true,
        }
    }
}

/// A reusable reference, taken from a clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Character {
    /// Names it.
    pub id: CharacterId,
    /// Always `character`.
    #[serde(default)]
    pub object: CharacterTag,
    /// What prompts call it.
    pub name: String,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
}

/// The files of a video.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContentVariant {
    /// The clip, as MP4.
    #[default]
    Video,
    /// One picture, as WebP.
    Thumbnail,
    /// Pictures in a grid, as JPEG.
    Spritesheet,
}

impl ContentVariant {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Video, Self::Thumbnail, Self::Spritesheet];

    /// As the wire writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Thumbnail => "thumbnail",
            Self::Spritesheet => "spritesheet",
        }
    }

    /// The `Content-Type` of its file. Whatever the client says it accepts, it gets this one: the SDKs ask for
    /// `application/binary`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Video => "video/mp4",
            Self::Thumbnail => "image/webp",
            Self::Spritesheet => "image/jpeg",
        }
    }

    /// The ending of its file.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Video => "mp4",
            Self::Thumbnail => "webp",
            Self::Spritesheet => "jpg",
        }
    }
}

impl fmt::Display for ContentVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ContentVariant {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let found = Self::ALL.into_iter().find(|variant| variant.as_str() == text);
        found.ok_or_else(|| ApiError::not_among("variant", text, &Self::ALL))
    }
}
