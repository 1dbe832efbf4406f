//! Where webhooks go: the management of endpoints, as the newest official SDKs call it (`client.webhook_endpoints`), and
//! the log of deliveries, which OpenAI does not show.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::body::{Body, Fields, Node};
use crate::requests::finished;
use crate::video::{ListTag, Page, tag};
use crate::{ApiError, DeliveryId, Rules, WebhookEndpointId, WebhookType, requests};

/// The longest name of an endpoint.
const LONGEST_NAME: usize = 256;
/// The longest address of an endpoint.
const LONGEST_URL: usize = 2048;

tag!(
    /// `"webhook_endpoint"`.
    WebhookEndpointTag,
    "webhook_endpoint"
);
tag!(
    /// `"webhook_endpoint.deleted"`.
    WebhookEndpointDeletedTag,
    "webhook_endpoint.deleted"
);
tag!(
    /// `"webhook_endpoint.test"`.
    WebhookTestTag,
    "webhook_endpoint.test"
);
tag!(
    /// `"webhook.delivery"`.
    WebhookDeliveryTag,
    "webhook.delivery"
);

/// Takes a type of event.
fn event_type(param: &str, text: &str) -> Result<WebhookType, ApiError> {
    let found = WebhookType::ALL.into_iter().find(|kind| kind.as_str() == text);
    found.ok_or_else(|| ApiError::not_among(param, text, &WebhookType::ALL))
}

/// Takes `event_types`: at least one, each once.
fn event_types(fields: &mut Fields) -> Result<Option<Vec<WebhookType>>, ApiError> {
    let param = fields.param("event_types");
    let Some(items) = fields.list("event_types", 100)? else {
        return Ok(None);
    };
    let mut kinds = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let param = format!("{param}[{index}]");
        let kind = match item {
            Node::Text(text) | Node::Form(text) => event_type(&param, &text)?,
            other => return Err(ApiError::wrong_type(&param, "a string", other.kind())),
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.is_empty() {
        let message = "empty array. Expected an array with minimum length 1, but got an empty array instead.";
        return Err(ApiError::out_of_range(&param, "empty_array", message.to_owned()));
    }
    Ok(Some(kinds))
}

/// Takes a text that is not empty, if it is there.
fn some_text(fields: &mut Fields, name: &str, most: usize) -> Result<Option<String>, ApiError> {
    let param = fields.param(name);
    let text = fields.text_up_to(name, most)?;
    if text.as_deref() == Some("") {
        let message = "empty string. Expected a string with minimum length 1, but got an empty string instead.";
        return Err(ApiError::out_of_range(&param, "empty_string", message.to_owned()));
    }
    Ok(text)
}

/// `POST /v1/webhook_endpoints`: a new endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(transform = requests::add_wrappers)]
pub struct CreateWebhookEndpoint {
    /// What people call it.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Where deliveries go: an address of the web.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Of what it is told.
    #[schemars(length(min = 1, max = 100))]
    pub event_types: Vec<WebhookType>,
    /// Fields that were sent and mean nothing here.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

impl CreateWebhookEndpoint {
    /// Reads a body and checks it, all but where `url` leads.
    ///
    /// **Errors**: 400 with the field in `param`.
    pub fn read(body: Body, rules: &Rules) -> Result<Self, ApiError> {
        let mut fields = body.fields()?;
        Ok(Self {
            name: fields.required_text("name", LONGEST_NAME)?,
            url: fields.required_text("url", LONGEST_URL)?,
            event_types: event_types(&mut fields)?.ok_or_else(|| ApiError::missing("event_types"))?,
            ignored: finished(fields, rules)?,
        })
    }
}

/// `POST /v1/webhook_endpoints/{webhook_endpoint_id}`: what is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(transform = requests::add_wrappers)]
pub struct UpdateWebhookEndpoint {
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name: Option<String>,
    /// Where deliveries go.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub url: Option<String>,
    /// Of what it is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub event_types: Option<Vec<WebhookType>>,
    /// Fields that were sent and mean nothing here.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

impl UpdateWebhookEndpoint {
    /// Reads a body and checks it, all but where `url` leads.
    ///
    /// **Errors**: 400 with the field in `param`.
    pub fn read(body: Body, rules: &Rules) -> Result<Self, ApiError> {
        let mut fields = body.fields()?;
        Ok(Self {
            name: some_text(&mut fields, "name", LONGEST_NAME)?,
            url: some_text(&mut fields, "url", LONGEST_URL)?,
            event_types: event_types(&mut fields)?,
            ignored: finished(fields, rules)?,
        })
    }
}

/// `POST /v1/webhook_endpoints/{webhook_endpoint_id}/rotate_secret`: a new secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(transform = requests::add_wrappers)]
pub struct RotateWebhookSecret {
    /// Whether deliveries are signed with the old secret too for a day; no if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_old_secret_active_for_24_hours: Option<bool>,
    /// Fields that were sent and mean nothing here.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

impl RotateWebhookSecret {
    /// Reads a body and checks it.
    ///
    /// **Errors**: 400 with the field in `param`.
    pub fn read(body: Body, rules: &Rules) -> Result<Self, ApiError> {
        let mut fields = body.fields()?;
        Ok(Self {
            keep_old_secret_active_for_24_hours: fields.boolean("keep_old_secret_active_for_24_hours")?,
            ignored: finished(fields, rules)?,
        })
    }
}

/// `POST /v1/webhook_endpoints/{webhook_endpoint_id}/test`: a delivery at once, about a video that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(transform = requests::add_wrappers)]
pub struct TestWebhookEndpoint {
    /// What it says has happened.
    pub event_type: WebhookType,
    /// Fields that were sent and mean nothing here.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

impl TestWebhookEndpoint {
    /// Reads a body and checks it.
    ///
    /// **Errors**: 400 with the field in `param`.
    pub fn read(body: Body, rules: &Rules) -> Result<Self, ApiError> {
        let mut fields = body.fields()?;
        let kind = fields.required_text("event_type", LONGEST_NAME)?;
        Ok(Self {
            event_type: event_type("event_type", &kind)?,
            ignored: finished(fields, rules)?,
        })
    }
}

/// Where webhooks of a project go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookEndpoint {
    /// Names it.
    pub id: WebhookEndpointId,
    /// Always `webhook_endpoint`.
    #[serde(default)]
    pub object: WebhookEndpointTag,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
    /// When it was last changed, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<u64>,
    /// What people call it.
    pub name: String,
    /// Where deliveries go.
    pub url: String,
    /// Of what it is told.
    pub event_types: Vec<WebhookType>,
    /// What deliveries are signed with: in the answers that make an endpoint or change its secret, and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<String>,
    /// The end of the secret, to tell it from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret_hint: Option<String>,
    /// When the receiver said that it is gone (410), in seconds since 1970: nothing is sent until the endpoint is updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<u64>,
}

/// A page of endpoints, the newest first.
pub type WebhookEndpointList = Page<WebhookEndpoint>;

/// The answer to the deletion of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookEndpointDeleted {
    /// What was deleted.
    pub id: WebhookEndpointId,
    /// Always `webhook_endpoint.deleted`.
    #[serde(default)]
    pub object: WebhookEndpointDeletedTag,
    /// Always true.
    pub deleted: bool,
}

/// What became of a test. One that the receiver did not accept is an error instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookTest {
    /// Always `webhook_endpoint.test`.
    #[serde(default)]
    pub object: WebhookTestTag,
    /// The endpoint.
    pub webhook_endpoint_id: WebhookEndpointId,
    /// What it was told.
    pub event_type: WebhookType,
    /// The status that the receiver answered.
    pub status_code: u16,
    /// Always true.
    pub success: bool,
}

/// `GET /v1/webhook_event_types`: everything that there is to be told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookEventTypes {
    /// Always `list`.
    #[serde(default)]
    pub object: ListTag,
    /// The types.
    pub data: Vec<WebhookType>,
}

impl Default for WebhookEventTypes {
    fn default() -> Self {
        Self {
            object: ListTag::Tag,
            data: WebhookType::ALL.to_vec(),
        }
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookDeliveryStatus {
    /// It is sent now, or again later.
    Pending,
    /// The receiver has it.
    Delivered,
    /// It was given up.
    Failed,
}

/// One event for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookDelivery {
    /// Names it: the header `webhook-id` of every attempt.
    pub id: DeliveryId,
    /// Always `webhook.delivery`.
    #[serde(default)]
    pub object: WebhookDeliveryTag,
    /// To whom.
    pub webhook_endpoint_id: WebhookEndpointId,
    /// What happened.
    pub event_type: WebhookType,
    /// What became of it.
    pub status: WebhookDeliveryStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it happened, in seconds since 1970.
    pub created_at: u64,
    /// When it is tried next, in seconds since 1970.
    pub next_attempt_at: Option<u64>,
    /// What the last attempt met.
    pub last_error: Option<String>,
}

/// The deliveries about one job, in order.
pub type WebhookDeliveryList = Page<WebhookDelivery>;
