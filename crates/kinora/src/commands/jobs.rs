//! `kinora jobs`: the jobs of a server, over HTTP.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, anyhow};
use kinora_api::{ErrorBody, EventData, JobEvent, JobList, JobView, LAST_EVENT_ID, SseReader};
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::table;
use crate::args::{Jobs, JobsAction};
use crate::progress::CLEAR_BELOW;
use crate::trouble::{Usage, say_plain};
use crate::{stdout, terminal};

/// The largest answer that is read, in bytes.
const MOST_BYTES: u64 = 64 << 20;
/// How long a watch waits before it asks again when its connection broke.
const PAUSE: Duration = Duration::from_secs(1);
/// So many broken connections one after the other are enough.
const MOST_BREAKS: u32 = 10;
/// Characters of the bar.
const BAR: usize = 24;

/// Does what the arguments say.
pub fn run(args: &Jobs) -> anyhow::Result<()> {
    let server = Server::new(args);
    match &args.action {
        JobsAction::List(list) => {
            let page: JobList = server.get(&format!("/api/jobs?limit={}", list.limit))?;
            match args.json {
                true => stdout::write_json(&page),
                false => stdout::write(listed(&page.data).as_bytes()),
            }
        }
        JobsAction::Show(job) => server.show(&job_path(&job.id, "")?, args.json),
        JobsAction::Cancel(job) => server.change(&job_path(&job.id, "/cancel")?, args.json),
        JobsAction::Retry(job) => server.change(&job_path(&job.id, "/retry")?, args.json),
        JobsAction::Delete(job) => {
            job_path(&job.id, "")?;
            let deleted: kinora_api::VideoDeleted =
                read(server.send("DELETE", &format!("/v1/videos/{}", job.id), &[])?)?;
            match args.json {
                true => stdout::write_json(&deleted),
                false => stdout::write(format!("{} is deleted\n", deleted.id).as_bytes()),
            }
        }
        JobsAction::Watch(job) => watch(&server, &job_path(&job.id, "/events")?, args.json),
    }
}

/// The path of a job. What is no id must not become another path.
fn job_path(id: &str, rest: &str) -> anyhow::Result<String> {
    let parsed: Result<kinora_api::VideoId, _> = id.parse();
    match parsed {
        Ok(id) => Ok(format!("/api/jobs/{id}{rest}")),
        Err(_) => Err(Usage::new(format!("{id:?} is no id of a job"), "`kinora jobs list` shows the ids").into()),
    }
}

/// A server, and the key to it.
struct Server {
    agent: Agent,
    url: String,
    key: Option<String>,
}

impl Server {
    fn new(args: &Jobs) -> Self {
        kinora_server::install_crypto();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .build();
        Self {
            agent: Agent::new_with_config(config),
            url: args.server.trim_end_matches('/').to_owned(),
            key: args.key.clone(),
        }
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, String)]) -> anyhow::Result<Response<Body>> {
        let url = format!("{}{path}", self.url);
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let request = request
            .body(())
            .map_err(|error| Usage::new(format!("{url}: {error}"), "check --server and --key"))?;
        let hint = "is `kinora serve` running there? --server names another place";
        let response = self
            .agent
            .run(request)
            .map_err(|error| anyhow!("no answer from {}: {error}\nhint: {hint}", self.url))?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(refused(response)),
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        read(self.send("GET", path, &[])?)
    }

    fn show(&self, path: &str, json: bool) -> anyhow::Result<()> {
        print(&self.get(path)?, json)
    }

    fn change(&self, path: &str, json: bool) -> anyhow::Result<()> {
        print(&read(self.send("POST", path, &[])?)?, json)
    }
}

fn read<T: DeserializeOwned>(mut response: Response<Body>) -> anyhow::Result<T> {
    let text = response.body_mut().with_config().limit(MOST_BYTES).read_to_string();
    let text = text.context("the answer broke off")?;
    serde_json::from_str(&text).context("the server answered something that this program does not understand")
}

/// What the server says that is wrong.
fn refused(mut response: Response<Body>) -> anyhow::Error {
    let status = response.status();
    let text = response
        .body_mut()
        .with_config()
        .limit(MOST_BYTES)
        .read_to_string()
        .unwrap_or_default();
    match serde_json::from_str::<ErrorBody>(&text) {
        Ok(body) => anyhow!("the server says: {}", body.error.message),
        Err(_) => anyhow!("the server answered {status}\nhint: is it a Kinora server? --server names another place"),
    }
}

fn print(job: &JobView, json: bool) -> anyhow::Result<()> {
    match json {
        true => stdout::write_json(job),
        false => stdout::write(shown(job).as_bytes()),
    }
}

fn listed(jobs: &[JobView]) -> String {
    let heading = ["ID", "STATUS", "DONE", "MODEL", "SIZE", "SECONDS", "PROMPT"].map(str::to_owned);
    let rows = jobs.iter().map(|job| {
        let prompt = job.video.prompt.clone().unwrap_or_default();
        [
            job.id.to_string(),
            job.status.to_string(),
            format!("{} %", job.video.progress),
            job.video.model.clone(),
            job.video.size.to_string(),
            job.video.seconds.to_string(),
            plain(&prompt, 40),
        ]
    });
    table::columns(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}

/// A text of others on one line, cut; control characters could steer the terminal.
fn plain(text: &str, most: usize) -> String {
    let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    one_line.take(most).collect()
}

fn shown(job: &JobView) -> String {
    let mut lines = vec![
        ("id", job.id.to_string()),
        ("status", job.status.to_string()),
        ("progress", format!("{} %", job.video.progress)),
        ("model", job.video.model.clone()),
        ("size", job.video.size.to_string()),
        ("seconds", job.video.seconds.to_string()),
        ("attempt", job.attempt.to_string()),
    ];
    let optional = [
        ("queue", job.queue_position.map(|before| format!("{before} before it"))),
        ("checkpoint", job.checkpoint_step.map(|step| format!("step {step}"))),
        ("left", job.remaining_ms.map(|ms| format!("{} s", ms.div_ceil(1000)))),
        ("seed", job.video.seed.map(|seed| seed.to_string())),
        ("prompt", job.video.prompt.as_deref().map(|prompt| plain(prompt, 200))),
        (
            "error",
            job.video
                .error
                .as_ref()
                .map(|error| plain(&format!("{}: {}", error.code, error.message), 400)),
        ),
    ];
    lines.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines
        .iter()
        .map(|(name, value)| format!("{name:<width$}  {value}\n"))
        .collect()
}

/// Shows the events of a job until its last one, over broken connections.
fn watch(server: &Server, path: &str, json: bool) -> anyhow::Result<()> {
    let (mut last_seen, mut breaks) = (0_u64, 0);
    loop {
        let response = server.send("GET", path, &[(LAST_EVENT_ID, last_seen.to_string())]);
        let before = last_seen;
        let ended = match response {
            Ok(response) => follow(response, json, &mut last_seen),
            Err(error) if last_seen == 0 => return Err(error),
            Err(error) => Err(error),
        };
        if let Ok(Some(end)) = ended {
            return end_of(&end, json);
        }
        breaks = if last_seen > before { 0 } else { breaks + 1 };
        if breaks >= MOST_BREAKS {
            return Err(anyhow!(
                "the server does not answer any more\nhint: the job goes on; watch it again later"
            ));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Reads one stream of events; the last event, if it came.
fn follow(response: Response<Body>, json: bool, last_seen: &mut u64) -> anyhow::Result<Option<EventData>> {
    let mut body = response.into_body().into_reader();
    let (mut reader, mut buffer) = (SseReader::new(), [0; 4096]);
    loop {
        let length = body.read(&mut buffer)?;
        if length == 0 {
            return Ok(None);
        }
        for event in reader.push(&buffer[..length])? {
            *last_seen = event.sequence;
            match json {
                true => stdout::write(format!("{}\n", serde_json::to_string(&event)?).as_bytes())?,
                false => say(&event),
            }
            if event.data.is_last() {
                return Ok(Some(event.data));
            }
        }
    }
}

/// A moving line on a terminal, else a line for each event.
fn say(event: &JobEvent) {
    let line = line_of(&event.data);
    if terminal::is_live() {
        // A terminal that has gone is no reason to stop.
        let _ = write!(std::io::stderr().lock(), "\r{CLEAR_BELOW}{line}");
    } else {
        say_plain(&format!("{line}\n"));
    }
}

fn line_of(data: &EventData) -> String {
    match data {
        EventData::Queued { queue_position } => match queue_position {
            Some(before) => format!("queued, {before} before it"),
            None => "queued".to_owned(),
        },
        EventData::Started {
            attempt,
            resumed_from_step,
        } => match resumed_from_step {
            Some(step) => format!("attempt {attempt} goes on after step {step}"),
            None => format!("attempt {attempt} begins"),
        },
        EventData::Progress {
            stage,
            step,
            steps,
            progress,
            remaining_ms,
        } => {
            let full = BAR * usize::from(*progress).min(100) / 100;
            let left = remaining_ms.map_or_else(String::new, |ms| format!(", {} s left", ms.div_ceil(1000)));
            let stage = serde_json::to_value(stage).ok();
            let stage = stage.as_ref().and_then(|stage| stage.as_str()).unwrap_or_default();
            format!(
                "[{}{}] {progress:>3} %  {stage} {step}/{steps}{left}",
                "#".repeat(full),
                "-".repeat(BAR - full)
            )
        }
        EventData::Preview { step, url, .. } => format!("preview of step {step}: {}", plain(url, 200)),
        EventData::Checkpoint { step } => format!("checkpoint after step {step}"),
        EventData::CancelRequested {} => "stops at its next step".to_owned(),
        EventData::Succeeded { .. } => "succeeded".to_owned(),
        EventData::Failed { error } => plain(&format!("failed: {}: {}", error.code, error.message), 400),
        EventData::Cancelled {} => "cancelled".to_owned(),
    }
}

/// The last word of a watch: a video that will not come is an error of the command too.
fn end_of(end: &EventData, json: bool) -> anyhow::Result<()> {
    if !json && terminal::is_live() {
        say_plain("\n");
    }
    match end {
        EventData::Failed { error } => Err(anyhow!("the job failed: {}", plain(&error.message, 400))),
        EventData::Cancelled {} => Err(anyhow!("the job was cancelled")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use kinora_api::JobStage;

    use super::*;

    #[test]
    fn an_id_is_checked_before_it_becomes_a_path() {
        for bad in ["", "../keys", "video_1/../x", "a?b"] {
            assert!(job_path(bad, "").is_err(), "{bad}");
        }
        let id = "video_68d7512d07848190b3e45da0ecbebcde";
        if id.parse::<kinora_api::VideoId>().is_ok() {
            assert_eq!(job_path(id, "/cancel").unwrap(), format!("/api/jobs/{id}/cancel"));
        }
    }

    #[test]
    fn events_are_lines() {
        let progress = EventData::Progress {
            stage: JobStage::Diffuse,
            step: 14,
            steps: 28,
            progress: 50,
            remaining_ms: Some(1500),
        };
        assert_eq!(
            line_of(&progress),
            "[############------------]  50 %  diffuse 14/28, 2 s left"
        );
        assert_eq!(
            line_of(&EventData::Queued {
                queue_position: Some(2)
            }),
            "queued, 2 before it"
        );
        assert_eq!(plain("a\u{1b}[2Jb\nc", 5), "a [2J");
    }
}
