//! Traces: one from the request to the last step of its job, for a collector of OpenTelemetry.
//!
//! Spans wait in a queue of bounded length and go out from a thread of their own; a collector that is slow or absent costs
//! spans, never time of a request.

use std::time::Duration;

use axum::http::HeaderMap;
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{Error, Result};

/// The header of W3C Trace Context.
const TRACEPARENT: &str = "traceparent";
/// Where a collector takes spans.
const PATH: &str = "/v1/traces";
/// How long a post to the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What sends spans to the collector at `endpoint`.
///
/// **Errors**: [`Error::Setting`].
pub(super) fn exporter(endpoint: &str) -> Result<SdkTracerProvider> {
    let wrong = |problem: String| Error::Setting {
        what: "the OTLP endpoint",
        problem,
        hint: "give the address of a collector, such as http://127.0.0.1:4318".to_owned(),
    };
    if !(endpoint.starts_with("http://") || endpoint.starts_with("https://")) {
        return Err(wrong(format!("{endpoint:?} is no http or https URL")));
    }
    // Fails only if there is one already, which is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    let endpoint = endpoint.trim_end_matches('/');
    let endpoint = match endpoint.ends_with(PATH) {
        true => endpoint.to_owned(),
        false => format!("{endpoint}{PATH}"),
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_timeout(PATIENCE)
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    let resource = Resource::builder().with_service_name("kinora").build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}

/// Lets `span` belong to the trace that the headers name, if they do.
pub(super) fn continue_from(span: &Span, headers: &HeaderMap) {
    let sent = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    if let Some(parent) = sent.and_then(parsed) {
        // Without an exporter there is nothing to belong to.
        span.set_parent(Context::new().with_remote_span_context(parent)).ok();
    }
}

/// The place in its trace that a job goes on from, as `traceparent` writes it: the span that is open now if spans are
/// exported, otherwise what the client sent.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let context = Span::current().context();
    let here = context.span().span_context().clone();
    let sent = || headers.get(TRACEPARENT)?.to_str().ok().and_then(parsed);
    let place = if here.is_valid() { here } else { sent()? };
    Some(format!(
        "00-{}-{}-{:02x}",
        place.trace_id(),
        place.span_id(),
        place.trace_flags().to_u8()
    ))
}

/// The span of an attempt at a job, which belongs to the trace of the request that submitted it.
pub fn span_of_job(traceparent: Option<&str>, job: &str, attempt: u32) -> Span {
    let span = tracing::info_span!("job", job, attempt);
    if let Some(parent) = traceparent.and_then(parsed) {
        span.set_parent(Context::new().with_remote_span_context(parent)).ok();
    }
    span
}

/// Reads `00-<32 digits>-<16 digits>-<2 digits>`, small hexadecimal digits, neither id being zero.
fn parsed(text: &str) -> Option<SpanContext> {
    let mut fields = text.trim().split('-');
    let mut next = |digits: usize| {
        let field = fields.next()?;
        let fine = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (field.len() == digits && field.bytes().all(fine)).then_some(field)
    };
    let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
    // Newer versions may have more fields, this one has none.
    if version == "ff" || (version == "00" && fields.next().is_some()) {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & 1),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn places_in_traces_are_read_strictly() {
        assert!(parsed(GOOD).unwrap().is_remote());
        assert!(parsed(&GOOD.replacen("00-", "01-", 1)).is_some(), "a newer version");
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(parsed(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn without_an_exporter_the_clients_own_trace_goes_on() {
        let mut headers = HeaderMap::new();
        assert_eq!(traceparent(&headers), None);
        headers.insert(TRACEPARENT, GOOD.parse().unwrap());
        assert_eq!(traceparent(&headers).as_deref(), Some(GOOD));
        headers.insert(TRACEPARENT, "rubbish".parse().unwrap());
        assert_eq!(traceparent(&headers), None);
    }
}
