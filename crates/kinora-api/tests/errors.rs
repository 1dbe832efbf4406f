//! Every error: its status, its four members, and what it tells clients about trying again.

#![allow(clippy::unwrap_used, clippy::panic)]

use kinora_api::{ApiError, ContentVariant};
use serde_json::{Value, json};

/// Status, `type`, `param`, `code`, headers; messages below.
fn check(error: ApiError, status: u16, kind: &str, param: Option<&str>, code: Option<&str>, headers: &[(&str, &str)]) {
    let body = serde_json::to_value(error.body()).unwrap();
    let members = body["error"].as_object().unwrap();
    assert_eq!(members.len(), 4, "all four members are always sent");
    assert_eq!(error.status, status, "{error}");
    assert_eq!(members["type"], kind, "{error}");
    assert_eq!(members["param"], json!(param), "{error}");
    assert_eq!(members["code"], json!(code), "{error}");
    assert!(members["message"].as_str().is_some_and(|text| !text.is_empty()));
    let sent: Vec<_> = error.headers();
    let sent: Vec<_> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(sent, headers, "{error}");
}

#[test]
fn all_of_them() {
    let invalid = "invalid_request_error";
    let never = [("x-should-retry", "false")];
    let in_a_second = [("retry-after-ms", "1000"), ("retry-after", "1")];
    let bad = |error, param, code| check(error, 400, invalid, param, Some(code), &[]);
    bad(ApiError::malformed_body("x"), None, "invalid_body");
    bad(
        ApiError::missing("prompt"),
        Some("prompt"),
        "missing_required_parameter",
    );
    bad(
        ApiError::wrong_type("seed", "an integer", "a string"),
        Some("seed"),
        "invalid_type",
    );
    bad(
        ApiError::not_among("seconds", "5", &["4"]),
        Some("seconds"),
        "invalid_value",
    );
    bad(
        ApiError::invalid_value("size", "x", "No."),
        Some("size"),
        "invalid_value",
    );
    bad(
        ApiError::out_of_range("fps", "decimal_below_min_value", "low".to_owned()),
        Some("fps"),
        "decimal_below_min_value",
    );
    bad(ApiError::unknown_parameter("foo"), Some("foo"), "unknown_parameter");
    bad(
        ApiError::unsupported_parameter("image"),
        Some("image"),
        "unsupported_parameter",
    );
    bad(
        ApiError::conflict_of("n", "num_outputs_per_prompt"),
        Some("n"),
        "invalid_value",
    );
    bad(ApiError::expected_file("video"), Some("video"), "invalid_type");
    bad(
        ApiError::unsupported_file("input_reference", "text/plain", &["image/png"]),
        Some("input_reference"),
        "unsupported_file_mimetype",
    );
    bad(ApiError::reference_size(), Some("input_reference"), "invalid_value");
    bad(
        ApiError::unknown_model("x", &["toybox"]),
        Some("model"),
        "model_not_found",
    );
    check(ApiError::no_key(), 401, invalid, None, None, &[]);
    check(ApiError::wrong_key(), 401, invalid, None, Some("invalid_api_key"), &[]);
    check(
        ApiError::missing_scope("jobs"),
        403,
        "permission_error",
        None,
        Some("missing_scope"),
        &[],
    );
    let gone = |error, param, code| check(error, 404, invalid, param, Some(code), &[]);
    gone(ApiError::video_not_found("video_1"), Some("video_id"), "not_found");
    gone(
        ApiError::character_not_found("char_1"),
        Some("character_id"),
        "not_found",
    );
    gone(
        ApiError::not_ready("video_1", "queued"),
        Some("video_id"),
        "video_not_ready",
    );
    gone(ApiError::expired("video_1"), Some("video_id"), "video_expired");
    gone(ApiError::content_gone("video_1"), Some("video_id"), "video_expired");
    gone(ApiError::unknown_url("GET", "/v2"), None, "unknown_url");
    check(
        ApiError::method_not_allowed("PUT", "/v1/videos"),
        405,
        invalid,
        None,
        Some("method_not_allowed"),
        &[],
    );
    check(
        ApiError::wrong_state("video_1", "queued", "deleted"),
        409,
        invalid,
        Some("video_id"),
        Some("invalid_state"),
        &never,
    );
    check(
        ApiError::idempotency_in_flight(),
        409,
        invalid,
        None,
        Some("idempotency_key_in_use"),
        &in_a_second,
    );
    check(
        ApiError::too_large(5),
        413,
        invalid,
        None,
        Some("request_too_large"),
        &[],
    );
    check(
        ApiError::unsupported_content_type("text/html", &["application/json"]),
        415,
        invalid,
        None,
        Some("unsupported_content_type"),
        &[],
    );
    check(
        ApiError::idempotency_mismatch(),
        422,
        invalid,
        None,
        Some("idempotency_key_reused"),
        &[],
    );
    let limit = "rate_limit_error";
    check(
        ApiError::rate_limited(1000),
        429,
        limit,
        None,
        Some("rate_limit_exceeded"),
        &in_a_second,
    );
    check(
        ApiError::too_many_jobs(2, 1000),
        429,
        limit,
        None,
        Some("too_many_jobs"),
        &in_a_second,
    );
    check(
        ApiError::quota_exceeded(),
        429,
        "insufficient_quota",
        None,
        Some("insufficient_quota"),
        &never,
    );
    let server = "server_error";
    check(
        ApiError::internal("req_1"),
        500,
        server,
        None,
        Some("server_error"),
        &[],
    );
    check(
        ApiError::not_supported("Remix"),
        501,
        server,
        None,
        Some("not_supported"),
        &never,
    );
    check(
        ApiError::unavailable(1000),
        503,
        server,
        None,
        Some("service_unavailable"),
        &in_a_second,
    );
    check(
        ApiError::storage_full(),
        507,
        server,
        None,
        Some("storage_full"),
        &never,
    );
}

#[test]
fn waits_are_ones_that_all_clients_honour() {
    let waits = |ms| ApiError::rate_limited(ms).headers();
    assert_eq!(waits(0)[0].1, "1");
    assert_eq!(
        waits(1500),
        [("retry-after-ms", "1500".to_owned()), ("retry-after", "2".to_owned())]
    );
    assert_eq!(waits(u64::MAX)[0].1, "60000");
}

#[test]
fn messages_are_those_that_were_recorded() {
    let message = |error: ApiError| error.object.message;
    assert_eq!(
        message(ApiError::not_among("seconds", "5", &["4", "8", "12"])),
        "Invalid value: '5'. Supported values are: '4', '8', and '12'."
    );
    assert_eq!(
        message(ApiError::not_among(
            "size",
            "1920x1080",
            &["720x1280", "1280x720", "1024x1792", "1792x1024"]
        )),
        "Invalid value: '1920x1080'. Supported values are: '720x1280', '1280x720', '1024x1792', and '1792x1024'."
    );
    assert_eq!(
        message(ApiError::reference_size()),
        "Inpaint image must match the requested width and height"
    );
    let kinds = ["image/jpeg", "image/png", "image/webp", "video/mp4"];
    assert_eq!(
        message(ApiError::unsupported_file(
            "input_reference",
            "application/octet-stream",
            &kinds
        )),
        "Invalid file 'input_reference': unsupported mimetype ('application/octet-stream'). Supported file formats are \
         'image/jpeg', 'image/png', 'image/webp', and 'video/mp4'."
    );
    assert!(message(ApiError::expected_file("video")).ends_with("expected a file, got a string."));
    assert!(message(ApiError::not_among("x", "y", &["a", "b"])).ends_with("are: 'a' and 'b'."));
    assert!(message(ApiError::not_among::<&str>("x", "y", &[])).ends_with("are: none."));
    assert_eq!(
        ApiError::missing("prompt").to_string(),
        "400 Missing required parameter: 'prompt'."
    );
}

#[test]
fn what_comes_from_outside_is_repeated_shortly_and_on_one_line() {
    let long = format!("a\r\nb\u{1b}[31m{}", "é".repeat(5000));
    for error in [
        ApiError::video_not_found(&long),
        ApiError::not_among("variant", &long, &ContentVariant::ALL),
        ApiError::unknown_model(&long, &["m"]),
        ApiError::unsupported_file("f", &long, &["x"]),
        ApiError::unknown_url("GET", &long),
    ] {
        let text = error.object.message;
        assert!(
            text.chars().count() < 300 && !text.chars().any(char::is_control),
            "{text}"
        );
    }
    let body: Value = serde_json::to_value(ApiError::video_not_found("\"}").body()).unwrap();
    assert!(body["error"]["message"].as_str().unwrap().contains("\"}"));
}
