//! What Kinora's HTTP interface says and understands. This crate knows no HTTP library, no job and no model: it is shared
//! by the server, by clients and by tests.
//!
//! **OpenAI's Videos API**, which closed on 24 September 2026, in the exact form that the official SDKs speak: [`Video`],
//! [`VideoList`], [`VideoDeleted`], [`Character`], [`ContentVariant`], [`ErrorBody`]. **Requests** are one type each
//! ([`CreateVideo`], [`RemixVideo`], [`EditVideo`], [`ExtendVideo`], [`CreateCharacter`], [`ListQuery`]), read from JSON,
//! from a form or from the parts of a multipart body, and checked against what a server makes ([`Rules`]); what is wrong
//! with them is an [`ApiError`] with status, headers and body. [`Options`] are the fields that other servers added.
//!
//! **What OpenAI never had**: [`JobView`], [`JobEvent`] (server-sent events), [`MakeVariants`], [`CreateStoryboard`],
//! [`BlendVideos`], [`LoopVideo`], [`ModelList`], [`Health`]. **Webhooks**: [`WebhookEvent`], [`WebhookSecret`] and, to manage
//! where they go, [`WebhookEndpoint`].
//!
//! [`openapi()`] is the document of all this. Its schemas are derived from the types, not written beside them.
//!
//! **Unknown fields.** OpenAI's own clients send fields that its documents do not list, so a field that nobody knows is
//! not an error: it is reported in `ignored` of the request, for a header of the answer ([`IGNORED_FIELDS`]). A field of
//! another server that would change the clip and that Kinora lacks is refused, unless its value says nothing.
//!
//! ```
//! use kinora_api::{Body, CreateVideo, Part, Rules};
//! # fn main() -> Result<(), kinora_api::ApiError> {
//! let rules = Rules::sora();
//! let json = br#"{"prompt": "a red ball rolls", "seconds": "8", "seed": 7}"#;
//! let parts = vec![
//!     Part::text("prompt", "a red ball rolls"),
//!     Part::text("seconds", "8"),
//!     Part::text("seed", "7"),
//! ];
//! let request = CreateVideo::read(Body::Json(json), &rules)?;
//! assert_eq!(request, CreateVideo::read(Body::Multipart(parts), &rules)?);
//!
//! let error = CreateVideo::read(Body::Urlencoded(b"prompt=x&seconds=5"), &rules).unwrap_err();
//! assert_eq!((error.status, error.object.param.as_deref()), (400, Some("seconds")));
//! # Ok(())
//! # }
//! ```

mod body;
mod error;
mod headers;
mod id;
mod measure;
mod native;
mod openapi;
mod requests;
mod rules;
mod upload;
mod video;
mod webhook_endpoints;
mod webhooks;

pub use body::{Body, BodyKind, Part, PartValue};
pub use error::{ApiError, ErrorBody, ErrorObject, ErrorType, LONGEST_RETRY_AFTER_MS, Retry};
pub use headers::*;
pub use id::{CharacterId, DeliveryId, EventId, NotAnId, RANDOM_BYTES, VideoId, WebhookEndpointId};
pub use measure::{NotAMeasure, Seconds, Size};
pub use native::*;
pub use openapi::{examples, openapi};
pub use requests::*;
pub use rules::{LONGEST_PROMPT, Lengths, ModelRules, Rules, Sizes, UnknownFields};
pub use upload::{Content, HEAD_BYTES, LONGEST_IMAGE_URL, MediaType, Upload};
pub use video::*;
pub use webhook_endpoints::*;
pub use webhooks::*;
