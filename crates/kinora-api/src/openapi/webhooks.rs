//! The routes of webhook endpoints and deliveries.

use serde_json::{Value, json};

use super::Schemas;
use super::routes::{CHANGE, Route, Sends, Takes, get, paging, post};
use crate::{
    CreateWebhookEndpoint, RotateWebhookSecret, TestWebhookEndpoint, UpdateWebhookEndpoint, WebhookDeliveryList,
    WebhookEndpoint, WebhookEndpointDeleted, WebhookEndpointList, WebhookEventTypes, WebhookTest,
};

const ALL: &str = "/v1/webhook_endpoints";
const ONE: &str = "/v1/webhook_endpoints/{webhook_endpoint_id}";
const ROTATE: &str = "/v1/webhook_endpoints/{webhook_endpoint_id}/rotate_secret";
const TEST: &str = "/v1/webhook_endpoints/{webhook_endpoint_id}/test";

/// How a change of an endpoint can fail: the body too.
const ASK: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 429, 500, 503, 507];

/// A change, which has no idempotency key: doing it twice is harmless, or makes a second endpoint that can be seen.
fn change(path: &'static str, id: &'static str, summary: &'static str, takes: Value, sends: &Value) -> Route {
    Route {
        parameters: Vec::new(),
        errors: ASK,
        ..post(path, id, summary, Takes::Any(takes), Sends::Json(sends.clone()))
    }
}

/// As the SDKs call them, and two of ours.
pub(super) fn routes(schemas: &mut Schemas) -> Vec<Route> {
    let endpoint = schemas.of::<WebhookEndpoint>();
    let list = Sends::Json(schemas.of::<WebhookEndpointList>());
    let deleted = Sends::Json(schemas.of::<WebhookEndpointDeleted>());
    let types = Sends::Json(schemas.of::<WebhookEventTypes>());
    let create = schemas.of::<CreateWebhookEndpoint>();
    let update = schemas.of::<UpdateWebhookEndpoint>();
    let rotate = schemas.of::<RotateWebhookSecret>();
    let test = schemas.of::<TestWebhookEndpoint>();
    let tested = schemas.of::<WebhookTest>();
    let log = Sends::Json(schemas.of::<WebhookDeliveryList>());
    let mut all = vec![
        change(ALL, "create_webhook_endpoint", "A new endpoint.", create, &endpoint),
        Route {
            parameters: paging(schemas),
            ..get(ALL, "list_webhook_endpoints", "The endpoints of the project.", list)
        },
        get(
            ONE,
            "get_webhook_endpoint",
            "One endpoint.",
            Sends::Json(endpoint.clone()),
        ),
        change(ONE, "update_webhook_endpoint", "Change an endpoint.", update, &endpoint),
        Route {
            method: "delete",
            errors: CHANGE,
            ..get(ONE, "delete_webhook_endpoint", "Delete an endpoint.", deleted)
        },
        change(
            ROTATE,
            "rotate_webhook_secret",
            "A new secret for an endpoint.",
            rotate,
            &endpoint,
        ),
        change(TEST, "test_webhook_endpoint", "Send a test at once.", test, &tested),
        get(
            "/v1/webhook_event_types",
            "list_webhook_event_types",
            "What webhooks tell of.",
            types,
        ),
        get(
            "/api/jobs/{job_id}/deliveries",
            "list_job_deliveries",
            "What became of the webhooks about a job.",
            log,
        ),
        post(
            "/api/webhooks/deliveries/{delivery_id}/replay",
            "replay_delivery",
            "Send a delivery again, under its old name.",
            Takes::Nothing,
            Sends::Json(json!({ "type": "object" })),
        ),
    ];
    all.iter_mut().for_each(|route| route.tag = "webhooks");
    all
}
