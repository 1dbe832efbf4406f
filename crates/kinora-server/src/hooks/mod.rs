//! Webhooks: where they go, and how they get there.
//!
//! A job carries the names of the endpoints that its project had when it was submitted ([`names_for`]). When it ends, its
//! record and the news of it change in one transaction (the outbox of [`kinora_jobs`]); a [`Sender`] takes the news from
//! there and sends them, signed, until they are received or three days have passed. At least once: a receiver tells repeats
//! by `webhook-id`, which stays.

mod delivery;
mod endpoints;
mod sender;

pub(crate) use delivery::{DeliveryNames, Letter, event_of};
pub(crate) use endpoints::{Endpoint, Endpoints, OldSecret};
pub(crate) use sender::send;
pub use sender::{Sender, start_sender};

use crate::App;
use crate::answer::Answer;

/// The names of the endpoints of `project`, for [`kinora_jobs::Submission::webhooks`].
///
/// **Errors**: 500 if the records cannot be read.
pub(crate) async fn names_for(app: &App, project: &str) -> Answer<Vec<String>> {
    Ok(app.endpoints.names(project, app.clock.now()).await?)
}
