//! The management of webhook endpoints, as OpenAI's newest SDKs call it, and the log of deliveries.

use std::time::Duration;

use axum::extract::{Path, RawQuery, Request, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use kinora_api::{
    ApiError, CreateWebhookEndpoint, DeliveryId, ErrorType, EventId, ListQuery, Order, Page, RANDOM_BYTES,
    RotateWebhookSecret, TestWebhookEndpoint, UpdateWebhookEndpoint, VideoId, WebhookDelivery, WebhookDeliveryList,
    WebhookDeliveryStatus, WebhookEndpoint, WebhookEndpointDeleted, WebhookEndpointId, WebhookEndpointList,
    WebhookEventTypes, WebhookSecret, WebhookTest,
};
use kinora_jobs::{DeliveryState, JobId, OutboxEntry};
use serde_json::{Value, json};

use crate::answer::{Answer, Failure};
use crate::body::read_body;
use crate::fetch::web_address;
use crate::hooks::{DeliveryNames, Endpoint, Letter, OldSecret, event_of, send};
use crate::view::unix_seconds;
use crate::{App, Caller};

/// How long a replaced secret works, if that is asked for.
const OLD_SECRET_S: u64 = 24 * 3600;
/// Bytes of a secret.
const SECRET_BYTES: usize = 32;
/// How long the receiver of a test may take.
const TEST_TIME: Duration = Duration::from_secs(10);
/// The most endpoints of a project: each job is told to each of them.
const MOST_ENDPOINTS: usize = 100;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/webhook_endpoints", get(list).post(create))
        .route("/v1/webhook_endpoints/{id}", get(one).post(update).delete(delete))
        .route("/v1/webhook_endpoints/{id}/rotate_secret", post(rotate))
        .route("/v1/webhook_endpoints/{id}/test", post(test))
        .route("/v1/webhook_event_types", get(event_types))
        .route("/api/jobs/{id}/deliveries", get(deliveries))
        .route("/api/webhooks/deliveries/{id}/replay", post(replay))
}

fn not_found(what: &str, id: &str) -> Failure {
    let shown: String = id.chars().filter(|c| !c.is_control()).take(100).collect();
    let message = format!("{what} with id '{shown}' not found.");
    let kind = ErrorType::InvalidRequestError;
    Failure(ApiError::new(404, kind, Some("not_found"), None, message))
}

/// The endpoint with this id, if the caller's project has it.
async fn found(app: &App, caller: &Caller, id: &str) -> Answer<Endpoint> {
    let missing = || not_found("Webhook endpoint", id);
    let read: WebhookEndpointId = id.parse().map_err(|_| missing())?;
    let endpoint = app.endpoints.get(&caller.project, &read).await?;
    endpoint.ok_or_else(missing)
}

/// The address of an endpoint, if it is one of the web. Whether it is a public one shows when it is connected to.
fn checked(url: String) -> Answer<String> {
    match web_address(&url) {
        Ok(_) => Ok(url),
        Err(_) => {
            let rule = "An address that begins with https:// or http:// is needed, without a user in it.";
            // Not repeated: it may hold a password.
            Err(ApiError::invalid_value("url", "…", rule).into())
        }
    }
}

fn random<const N: usize>() -> Answer<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Failure::internal(&error))?;
    Ok(bytes)
}

fn new_secret() -> Answer<String> {
    Ok(WebhookSecret::from_bytes(&random::<SECRET_BYTES>()?).reveal())
}

async fn create(State(app): State<App>, caller: Caller, request: Request) -> Answer<Json<WebhookEndpoint>> {
    let body = read_body(&app, request).await?;
    let asked = CreateWebhookEndpoint::read(body.as_body(), &app.rules)?;
    let url = checked(asked.url)?;
    if app.endpoints.of_project(&caller.project).await?.len() >= MOST_ENDPOINTS {
        let message = format!("A project has at most {MOST_ENDPOINTS} webhook endpoints.");
        let kind = ErrorType::InvalidRequestError;
        return Err(ApiError::new(400, kind, Some("too_many_webhook_endpoints"), None, message).into());
    }
    let created_at = unix_seconds(app.clock.now());
    let endpoint = Endpoint {
        id: WebhookEndpointId::new(created_at, random::<RANDOM_BYTES>()?),
        project: caller.project,
        name: asked.name,
        url,
        event_types: asked.event_types,
        created_at,
        updated_at: None,
        secret: new_secret()?,
        old_secret: None,
        disabled_at: None,
    };
    app.endpoints.put(&endpoint).await?;
    Ok(Json(endpoint.view(true)))
}

async fn list(State(app): State<App>, caller: Caller, RawQuery(query): RawQuery) -> Answer<Json<WebhookEndpointList>> {
    let query = ListQuery::read(query.as_deref().unwrap_or_default())?;
    let mut all = app.endpoints.of_project(&caller.project).await?;
    if query.order == Order::Desc {
        all.reverse();
    }
    let begin = match &query.after {
        None => 0,
        Some(after) => {
            let at = all.iter().position(|endpoint| endpoint.id.as_str() == after);
            at.ok_or_else(|| not_found("Webhook endpoint", after))? + 1
        }
    };
    let left = &all[begin..];
    let limit = query.limit as usize;
    let page = left.iter().take(limit).map(|endpoint| endpoint.view(false)).collect();
    Ok(Json(Page::new(page, left.len() > limit, |endpoint| {
        endpoint.id.to_string()
    })))
}

async fn one(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<Json<WebhookEndpoint>> {
    Ok(Json(found(&app, &caller, &id).await?.view(false)))
}

async fn update(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Json<WebhookEndpoint>> {
    let mut endpoint = found(&app, &caller, &id).await?;
    let body = read_body(&app, request).await?;
    let asked = UpdateWebhookEndpoint::read(body.as_body(), &app.rules)?;
    if let Some(url) = asked.url {
        endpoint.url = checked(url)?;
    }
    endpoint.name = asked.name.unwrap_or(endpoint.name);
    endpoint.event_types = asked.event_types.unwrap_or(endpoint.event_types);
    endpoint.updated_at = Some(unix_seconds(app.clock.now()));
    endpoint.disabled_at = None;
    app.endpoints.put(&endpoint).await?;
    Ok(Json(endpoint.view(false)))
}

async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<WebhookEndpointDeleted>> {
    let endpoint = found(&app, &caller, &id).await?;
    app.endpoints.delete(&caller.project, &endpoint.id).await?;
    Ok(Json(WebhookEndpointDeleted {
        id: endpoint.id,
        object: Default::default(),
        deleted: true,
    }))
}

async fn rotate(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Json<WebhookEndpoint>> {
    let mut endpoint = found(&app, &caller, &id).await?;
    let body = read_body(&app, request).await?;
    let asked = RotateWebhookSecret::read(body.as_body(), &app.rules)?;
    let now = unix_seconds(app.clock.now());
    let old = std::mem::replace(&mut endpoint.secret, new_secret()?);
    // One that was kept before ends now: whoever rotates twice wants it gone.
    endpoint.old_secret = asked
        .keep_old_secret_active_for_24_hours
        .unwrap_or(false)
        .then(|| OldSecret {
            secret: old,
            until: now + OLD_SECRET_S,
        });
    endpoint.updated_at = Some(now);
    app.endpoints.put(&endpoint).await?;
    tracing::info!(target: "audit", key = caller.key, endpoint = id, "the secret of a webhook endpoint was changed");
    Ok(Json(endpoint.view(true)))
}

async fn test(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Answer<Json<WebhookTest>> {
    let endpoint = found(&app, &caller, &id).await?;
    let body = read_body(&app, request).await?;
    let asked = TestWebhookEndpoint::read(body.as_body(), &app.rules)?;
    let now = unix_seconds(app.clock.now());
    let video = VideoId::new(now, random()?);
    let event = event_of(EventId::new(now, random()?), asked.event_type, now, video);
    let name = DeliveryId::new(now, random()?);
    let why = match send(&app, &endpoint, &name, &event, TEST_TIME).await? {
        Ok(status_code @ 200..=299) => {
            return Ok(Json(WebhookTest {
                object: Default::default(),
                webhook_endpoint_id: endpoint.id,
                event_type: asked.event_type,
                status_code,
                success: true,
            }));
        }
        Ok(status) => format!("it answered {status}"),
        Err(why) => why.to_string(),
    };
    let message = format!("The test was not received by the webhook endpoint: {why}.");
    let kind = ErrorType::InvalidRequestError;
    Err(ApiError::new(400, kind, Some("webhook_test_failed"), None, message).into())
}

async fn event_types() -> Json<WebhookEventTypes> {
    Json(WebhookEventTypes::default())
}

async fn deliveries(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<WebhookDeliveryList>> {
    let job = JobId(id.clone());
    let (job, outbox) = app
        .with_store(move |store| Ok((store.get(&job)?, store.outbox(&job)?)))
        .await?;
    if job.project != caller.project {
        return Err(ApiError::video_not_found(&id).into());
    }
    let names = DeliveryNames::open(&app.files).await?;
    let mut log = Vec::with_capacity(outbox.len());
    for entry in &outbox {
        log.extend(delivery_of(&names, entry)?);
    }
    Ok(Json(Page::new(log, false, |delivery| delivery.id.to_string())))
}

/// A line of the log; `None` for news that this version does not understand.
fn delivery_of(names: &DeliveryNames, entry: &OutboxEntry) -> Answer<Option<WebhookDelivery>> {
    let (Some(letter), Ok(endpoint)) = (Letter::of(&entry.delivery), entry.delivery.endpoint.parse()) else {
        return Ok(None);
    };
    let status = match entry.state {
        DeliveryState::Pending => WebhookDeliveryStatus::Pending,
        DeliveryState::Delivered => WebhookDeliveryStatus::Delivered,
        DeliveryState::Dead => WebhookDeliveryStatus::Failed,
    };
    let pending = status == WebhookDeliveryStatus::Pending;
    Ok(Some(WebhookDelivery {
        id: names.name(&letter.project, &entry.delivery)?,
        object: Default::default(),
        webhook_endpoint_id: endpoint,
        event_type: letter.event.kind,
        status,
        attempts: entry.delivery.attempt,
        created_at: letter.event.created_at,
        next_attempt_at: pending.then(|| unix_seconds(entry.next_at)),
        last_error: entry.last_error.clone(),
    }))
}

async fn replay(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Answer<Json<Value>> {
    let names = DeliveryNames::open(&app.files).await?;
    let missing = || not_found("Delivery", &id);
    let number = names.number(&caller.project, &id).ok_or_else(missing)?;
    let replayed = app
        .with_store(move |store| match store.replay(number) {
            Err(kinora_jobs::Error::DeliveryLost { .. }) => Ok(false),
            other => other.map(|()| true),
        })
        .await?;
    if !replayed {
        return Err(missing());
    }
    Ok(Json(
        json!({ "id": id, "object": "webhook.delivery", "status": "pending" }),
    ))
}
