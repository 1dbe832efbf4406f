//! The log: one line an event, as text for people or as JSON for programs.

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::traces;
use crate::{Error, Result};

/// The variable that says what is logged, in the words of `tracing_subscriber` (`info`, `kinora_server=debug`).
const FILTER: &str = "KINORA_LOG";

/// How a line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// What is logged, how, and where traces go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged; if absent, what the variable `KINORA_LOG` says; without one, `info`.
    pub filter: Option<String>,
    /// The collector of OpenTelemetry that gets the spans over HTTP (`http://127.0.0.1:4318`); none if absent.
    pub otlp_endpoint: Option<String>,
}

/// The log of this process. What has not been exported yet is sent when this is dropped or [`Logs::shutdown`] is called.
#[derive(Debug)]
pub struct Logs {
    provider: Option<SdkTracerProvider>,
}

impl Logs {
    /// Sends the spans that wait, for at most `bound`. Says whether all of them went out.
    pub fn shutdown(mut self, bound: Duration) -> bool {
        self.close(bound)
    }

    fn close(&mut self, bound: Duration) -> bool {
        let Some(provider) = self.provider.take() else {
            return true;
        };
        let (done, ended) = std::sync::mpsc::channel();
        // A collector that does not answer must not hold the end of the process: the thread is left behind.
        let closer = std::thread::Builder::new().name("traces".to_owned()).spawn(move || {
            done.send(provider.shutdown_with_timeout(bound).is_ok()).ok();
        });
        closer.is_ok() && ended.recv_timeout(bound).unwrap_or(false)
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.close(Duration::from_secs(2));
    }
}

/// Makes the log of this process; once, at its start.
///
/// **Errors**: [`Error::Setting`] for a filter that says nothing, an endpoint that is no URL, or a second call.
pub fn init(options: &LogOptions) -> Result<Logs> {
    let colour = std::io::stderr().is_terminal();
    let (subscriber, logs) = subscriber(options, std::io::stderr, colour)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|error| Error::Setting {
        what: "the log",
        problem: error.to_string(),
        hint: "it is set up once in a process".to_owned(),
    })?;
    Ok(logs)
}

/// What takes the events, writing lines to `writer`.
fn subscriber<W>(
    options: &LogOptions,
    writer: W,
    colour: bool,
) -> Result<(impl Subscriber + Send + Sync + use<W>, Logs)>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let told = options.filter.clone().or_else(|| std::env::var(FILTER).ok());
    let filter = EnvFilter::try_new(told.as_deref().unwrap_or("info")).map_err(|error| Error::Setting {
        what: FILTER,
        problem: error.to_string(),
        hint: "write info, warn, or kinora_server=debug,info".to_owned(),
    })?;
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match options.format {
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .with_ansi(colour)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    };
    let provider = options.otlp_endpoint.as_deref().map(traces::exporter).transpose()?;
    let spans = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("kinora")));
    let subscriber = tracing_subscriber::registry().with(lines).with(spans).with(filter);
    Ok((subscriber, Logs { provider }))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(options: &LogOptions, events: impl FnOnce()) -> String {
        let page = Page::default();
        let to = page.clone();
        let (subscriber, _logs) = subscriber(options, move || to.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, events);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_are_objects_with_the_fields_of_the_event() {
        let options = LogOptions {
            format: LogFormat::Json,
            filter: Some("info".to_owned()),
            otlp_endpoint: None,
        };
        let text = written(&options, || {
            tracing::info!(path = "/a\n\"b\"\u{1b}", status = 404, "answered");
            tracing::debug!("not asked for");
        });
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert_eq!(
            (&lines[0]["path"], &lines[0]["status"], &lines[0]["level"]),
            (&"/a\n\"b\"\u{1b}".into(), &404.into(), &"INFO".into())
        );
    }

    #[test]
    fn lines_of_text_stay_lines() {
        let options = LogOptions {
            filter: Some("info".to_owned()),
            ..LogOptions::default()
        };
        let text = written(&options, || {
            tracing::info!(key = super::super::plain("a\nERROR \u{1b}[2J"), "answered");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_hint() {
        for (filter, endpoint) in [(Some("kinora=loud"), None), (None, Some("no address"))] {
            let options = LogOptions {
                filter: filter.map(str::to_owned),
                otlp_endpoint: endpoint.map(str::to_owned),
                ..LogOptions::default()
            };
            let error = subscriber(&options, std::io::sink, false).err().unwrap();
            assert!(error.to_string().contains("hint:"), "{error}");
        }
    }
}
