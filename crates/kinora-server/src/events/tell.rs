//! Lines of the log as the events that clients get.

use bytes::Bytes;
use kinora_api::{EventData, JobEvent, JobStage, VideoError, failure};
use kinora_jobs::{Event, EventKind, Job, Timestamp};
use serde_json::Value;

use super::Told;
use crate::files::FileRef;
use crate::view;

/// How fast a job denoises: measured from the first step of the attempt that was seen to the last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// Step and moment.
    first: Option<(u64, i64)>,
    last: Option<(u64, i64)>,
    total: u64,
}

impl Pace {
    /// The pace of a job whose log holds these events; without any, nothing has been seen.
    pub(crate) fn new(log: Option<&[Event]>) -> Self {
        let mut pace = Self::default();
        for event in log.unwrap_or_default() {
            pace.follow(event);
        }
        pace
    }

    pub(crate) fn follow(&mut self, event: &Event) {
        match event.kind {
            EventKind::Progress => {}
            EventKind::Checkpoint | EventKind::CancelRequested => return,
            _ => return *self = Self::default(),
        }
        let (Some(done), Some(total)) = (event.data["done"].as_u64(), event.data["total"].as_u64()) else {
            return;
        };
        // What comes before and after takes a small part of the time, and has a pace of its own.
        if event.data["stage"] != "diffuse" {
            return *self = Self::default();
        }
        let here = Some((done, event.at.as_ms()));
        self.first = self.first.or(here);
        (self.last, self.total) = (here, total);
    }

    /// How long the steps that are left take, from `now` on.
    pub(crate) fn remaining_ms(&self, now: Timestamp) -> Option<u64> {
        let ((first, begun), (last, at)) = (self.first?, self.last?);
        let steps = last.checked_sub(first).filter(|steps| *steps > 0)?;
        let took = u64::try_from(at - begun).ok()?;
        let left = took.saturating_mul(self.total.saturating_sub(last)) / steps;
        let since = u64::try_from(now.as_ms() - at).unwrap_or(0);
        Some(left.saturating_sub(since))
    }
}

/// Whether the record of the job is needed to tell of an event of this kind.
pub(super) const fn needs_job(kind: EventKind) -> bool {
    matches!(kind, EventKind::Succeeded)
}

/// Whether its place in the queue is.
pub(super) const fn needs_position(kind: EventKind) -> bool {
    matches!(kind, EventKind::Submitted | EventKind::Requeued)
}

/// The picture that an event tells of, and the step that it shows.
pub(crate) fn preview_of(event: &Event) -> Option<(FileRef, u32)> {
    if event.kind != EventKind::Progress {
        return None;
    }
    let key = event.data["preview"].as_str()?;
    Some((FileRef(key.to_owned()), small(&event.data["done"])?))
}

/// The kind of a picture, by its key.
pub(crate) fn picture_type(key: &FileRef) -> &'static str {
    match key.0.rsplit_once('.').map(|(_, ending)| ending) {
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        _ => "image/webp",
    }
}

/// The text of an event; `None` for one that clients are not told.
///
/// A record that this version cannot read is told as well as it can be: the stream must end when the job has.
pub(super) fn told(
    event: &Event,
    job: Option<&Job>,
    position: Option<u64>,
    pace: &Pace,
    now: Timestamp,
) -> Option<Told> {
    let job_id = event.job.0.parse().ok()?;
    let all = data_of(event, job, position, pace, now);
    let last = all.last()?.is_last();
    let count = all.len();
    let mut text = String::new();
    for (index, data) in all.into_iter().enumerate() {
        let one = JobEvent {
            sequence: event.seq,
            job_id: kinora_api::VideoId::clone(&job_id),
            at_ms: u64::try_from(event.at.as_ms()).unwrap_or(0),
            data,
        };
        let sent = one.to_sse().ok()?;
        // Only the last of those that share a number carries it, so that a client which lost the connection between them
        // gets them all again.
        let without_id = sent.split_once('\n').filter(|_| index + 1 < count);
        text.push_str(without_id.map_or(&sent, |(_, rest)| rest));
    }
    Some(Told {
        seq: event.seq,
        text: Bytes::from(text),
        last,
    })
}

fn data_of(event: &Event, job: Option<&Job>, position: Option<u64>, pace: &Pace, now: Timestamp) -> Vec<EventData> {
    let data = &event.data;
    let one = match event.kind {
        EventKind::Submitted | EventKind::Requeued => EventData::Queued {
            queue_position: position,
        },
        EventKind::Claimed => EventData::Started {
            attempt: small(&data["attempt"]).unwrap_or(1),
            resumed_from_step: small(&data["checkpoint_step"]),
        },
        EventKind::Progress => return progress(event, pace, now),
        EventKind::Checkpoint => EventData::Checkpoint {
            step: small(&data["step"]).unwrap_or(0),
        },
        EventKind::CancelRequested => EventData::CancelRequested {},
        EventKind::Succeeded => match job.map(view::video_of) {
            Some(Ok(video)) => EventData::Succeeded { video: Box::new(video) },
            _ => EventData::Failed {
                error: broken("The record of the video cannot be read."),
            },
        },
        EventKind::Failed => EventData::Failed {
            error: match (data["code"].as_str(), data["message"].as_str()) {
                (Some(code), Some(message)) => VideoError {
                    code: code.to_owned(),
                    message: message.to_owned(),
                },
                _ => broken("The video could not be made."),
            },
        },
        EventKind::Cancelled => EventData::Cancelled {},
        EventKind::Purged => return Vec::new(),
    };
    vec![one]
}

fn progress(event: &Event, pace: &Pace, now: Timestamp) -> Vec<EventData> {
    let data = &event.data;
    let stage = serde_json::from_value::<JobStage>(data["stage"].clone());
    let (Ok(stage), Some(done), Some(total)) = (stage, data["done"].as_u64(), data["total"].as_u64()) else {
        return Vec::new();
    };
    let mut all = vec![EventData::Progress {
        stage,
        step: u32::try_from(done).unwrap_or(u32::MAX),
        steps: u32::try_from(total).unwrap_or(u32::MAX),
        progress: view::percent_of(data["stage"].as_str().unwrap_or_default(), done, total),
        remaining_ms: pace.remaining_ms(now.min(event.at)),
    }];
    if let Some((key, step)) = preview_of(event) {
        all.push(EventData::Preview {
            step,
            url: format!("/api/jobs/{}/preview", event.job),
            content_type: picture_type(&key).to_owned(),
        });
    }
    all
}

fn broken(message: &str) -> VideoError {
    VideoError {
        code: failure::INTERNAL_ERROR.to_owned(),
        message: message.to_owned(),
    }
}

/// A number of the log, if it is one and not absurd.
fn small(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use kinora_api::SseReader;
    use kinora_jobs::JobId;
    use serde_json::json;

    use super::*;

    fn event(seq: u64, at: i64, kind: EventKind, data: Value) -> Event {
        let job = JobId("video_1".to_owned());
        let (project, at) = ("p".to_owned(), Timestamp(at));
        Event {
            seq,
            job,
            project,
            at,
            kind,
            data,
        }
    }

    fn step(seq: u64, at: i64, done: u64) -> Event {
        let data = json!({"stage": "diffuse", "done": done, "total": 10});
        event(seq, at, EventKind::Progress, data)
    }

    #[test]
    fn the_pace_is_that_of_the_attempt() {
        let mut pace = Pace::new(Some(&[step(1, 0, 1), step(2, 100, 2), step(3, 300, 3)]));
        assert_eq!(pace.remaining_ms(Timestamp(300)), Some(7 * 150));
        assert_eq!(pace.remaining_ms(Timestamp(400)), Some(7 * 150 - 100), "time goes by");
        assert_eq!(pace.remaining_ms(Timestamp(i64::MAX / 2)), Some(0));
        pace.follow(&event(4, 400, EventKind::Requeued, json!({})));
        assert_eq!(pace.remaining_ms(Timestamp(500)), None);
        pace.follow(&step(5, 500, 3));
        assert_eq!(pace.remaining_ms(Timestamp(500)), None, "one step has no pace");
        pace.follow(&step(6, 600, 4));
        assert_eq!(pace.remaining_ms(Timestamp(600)), Some(600));
    }

    #[test]
    fn a_picture_comes_with_its_step_and_only_the_last_of_the_two_has_the_number() {
        let mut with = step(7, 100, 3);
        with.data["preview"] = json!("previews/video_1/1-3.webp");
        assert_eq!(preview_of(&with).unwrap().1, 3);
        let told = told(&with, None, None, &Pace::default(), Timestamp(100)).unwrap();
        let text = String::from_utf8(told.text.to_vec()).unwrap();
        assert_eq!(text.matches("id: 7\n").count(), 1, "{text}");
        assert!(
            text.find("id: 7").unwrap() > text.find("job.progress").unwrap(),
            "{text}"
        );
        let events = SseReader::new().push(text.as_bytes()).unwrap();
        let names: Vec<_> = events.iter().map(|event| event.data.name()).collect();
        assert_eq!(names, ["job.progress", "job.preview"]);
        assert!(!told.last);
    }

    #[test]
    fn what_no_client_understands_is_not_told() {
        let odd = event(
            1,
            0,
            EventKind::Progress,
            json!({"stage": "add", "done": 1, "total": 2}),
        );
        let purged = event(2, 0, EventKind::Purged, json!({}));
        for event in [odd, purged] {
            assert!(told(&event, None, None, &Pace::default(), Timestamp(0)).is_none());
        }
        let failed = event(3, 0, EventKind::Failed, Value::Null);
        assert!(told(&failed, None, None, &Pace::default(), Timestamp(0)).unwrap().last);
    }
}
