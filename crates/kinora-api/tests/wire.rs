//! JSON as it was recorded from OpenAI and its SDKs, and back.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Debug;

use kinora_api::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: Value) -> T {
    let read: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), value);
    read
}

/// A completed job of November 2025, as recorded.
const RECORDED: &str = r#"{"id":"video_691611812ca88190bfb123716dcc953a089a232f54b02b21","object":"video","created_at":1763053953,"status":"completed",
 "completed_at":1763054021,"error":null,"expires_at":1763057621,"model":"sora-2","progress":100,"prompt":"aurora",
 "remixed_from_video_id":null,"seconds":"4","size":"1280x720"}"#;

#[test]
fn a_recorded_video_is_written_as_it_was() {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let video: Video = there_and_back(recorded.clone());
    assert_eq!(recorded.as_object().unwrap().len(), 13);
    assert_eq!((video.seconds, video.size), (Seconds::whole(4), Size::new(1280, 720)));
    assert_eq!(
        VideoId::new(video.created_at, [0; RANDOM_BYTES]).as_str()[..14],
        video.id.as_str()[..14]
    );
}

#[test]
fn what_is_not_known_yet_is_null_and_what_openai_never_had_is_left_out() {
    let mut video: Video = serde_json::from_str(RECORDED).unwrap();
    (video.status, video.progress) = (VideoStatus::Queued, 0);
    (video.completed_at, video.expires_at, video.prompt) = (None, None, None);
    let text = serde_json::to_string(&video).unwrap();
    assert_eq!(
        text,
        r#"{"id":"video_691611812ca88190bfb123716dcc953a089a232f54b02b21","object":"video","created_at":1763053953,"status":"queued","completed_at":null,"error":null,"expires_at":null,"model":"sora-2","progress":0,"prompt":null,"remixed_from_video_id":null,"seconds":"4","size":"1280x720"}"#
    );
    (video.seed, video.fps) = (Some(LARGEST_SEED), Some(12.5));
    let value = serde_json::to_value(&video).unwrap();
    assert_eq!(
        (&value["seed"], &value["fps"]),
        (&json!(9_007_199_254_740_991_u64), &json!(12.5))
    );
}

#[test]
fn answers_of_october_2025_and_of_other_servers_are_read() {
    let mut old: Value = serde_json::from_str(RECORDED).unwrap();
    for absent in [
        "prompt",
        "error",
        "completed_at",
        "expires_at",
        "remixed_from_video_id",
        "object",
    ] {
        old.as_object_mut().unwrap().remove(absent);
    }
    old["quality"] = json!("standard");
    old["stage_durations"] = json!({ "denoise": 1 });
    let video: Video = serde_json::from_value(old).unwrap();
    assert_eq!((video.prompt, video.object), (None, VideoTag::Tag));
    for (member, wrong) in [
        ("object", json!("image")),
        ("status", json!("expired")),
        ("seconds", json!(4)),
        ("size", json!("big")),
        ("progress", json!(256)),
        ("id", json!("vid_1")),
        ("created_at", json!(-1)),
    ] {
        let mut broken: Value = serde_json::from_str(RECORDED).unwrap();
        broken[member] = wrong;
        assert!(serde_json::from_value::<Video>(broken).is_err(), "{member}");
    }
}

#[test]
fn statuses_are_the_four_that_clients_know() {
    let pairs = [
        (JobStatus::Queued, "queued", "queued"),
        (JobStatus::Running, "running", "in_progress"),
        (JobStatus::Succeeded, "succeeded", "completed"),
        (JobStatus::Failed, "failed", "failed"),
        (JobStatus::Cancelled, "cancelled", "failed"),
    ];
    for (job, ours, theirs) in pairs {
        let video = VideoStatus::from(job);
        assert_eq!((job.as_str(), video.as_str()), (ours, theirs));
        assert_eq!(serde_json::to_value(job).unwrap(), json!(ours));
        assert_eq!(serde_json::to_value(video).unwrap(), json!(theirs));
        assert_eq!(
            (job.is_final(), video.to_string()),
            (!matches!(ours, "queued" | "running"), theirs.to_owned())
        );
    }
}

#[test]
fn pages_end_where_clients_stop() {
    let video: Video = serde_json::from_str(RECORDED).unwrap();
    let mut second = video.clone();
    second.id = "video_2".parse().unwrap();
    let id = |video: &Video| video.id.to_string();
    let page = Page::new(vec![video.clone(), second], true, id);
    let value = serde_json::to_value(&page).unwrap();
    assert_eq!(value["object"], "list");
    assert_eq!(
        (&value["first_id"], &value["last_id"]),
        (&json!(video.id), &json!("video_2"))
    );
    assert_eq!(there_and_back::<VideoList>(value), page);
    let empty = serde_json::to_string(&VideoList::new(Vec::new(), true, id)).unwrap();
    assert_eq!(
        empty,
        r#"{"object":"list","data":[],"first_id":null,"last_id":null,"has_more":false}"#
    );
}

#[test]
fn small_answers_have_their_published_form() {
    let id: VideoId = "video_1".parse().unwrap();
    let deleted = serde_json::to_string(&VideoDeleted::new(id)).unwrap();
    assert_eq!(deleted, r#"{"id":"video_1","object":"video.deleted","deleted":true}"#);
    let character: Character = there_and_back(json!({
        "id": "char_e9bd70c8fadc8191958144ce7c9d3810", "object": "character", "name": "Mossy", "created_at": 1_763_053_953
    }));
    assert_eq!(character.name, "Mossy");
    let event: WebhookEvent = there_and_back(json!({
        "object": "event", "id": "evt_1", "type": "video.completed", "created_at": 1_758_941_485, "data": { "id": "video_abc123" }
    }));
    assert_eq!(event.kind, WebhookType::VideoCompleted);
    assert_eq!(
        WebhookType::ALL.map(|kind| kind.to_string()),
        ["video.completed", "video.failed"]
    );
}

#[test]
fn variants_have_names_and_types() {
    let known = [
        ("video", "video/mp4", "mp4"),
        ("thumbnail", "image/webp", "webp"),
        ("spritesheet", "image/jpeg", "jpg"),
    ];
    for (variant, (name, content_type, extension)) in ContentVariant::ALL.into_iter().zip(known) {
        assert_eq!(name.parse(), Ok(variant));
        assert_eq!((variant.content_type(), variant.extension()), (content_type, extension));
    }
    assert_eq!(ContentVariant::default(), ContentVariant::Video);
    let error = "0".parse::<ContentVariant>().unwrap_err();
    assert_eq!(
        error.object.message,
        "Invalid value: '0'. Supported values are: 'video', 'thumbnail', and 'spritesheet'."
    );
}

#[test]
fn every_example_of_an_answer_is_read_and_written_alike() {
    let mut seen = 0;
    for (name, value) in examples() {
        seen += 1;
        match name {
            "Video" => drop(there_and_back::<Video>(value)),
            "VideoList" => drop(there_and_back::<VideoList>(value)),
            "VideoDeleted" => drop(there_and_back::<VideoDeleted>(value)),
            "Character" => drop(there_and_back::<Character>(value)),
            "ErrorBody" => drop(there_and_back::<ErrorBody>(value)),
            "JobView" => drop(there_and_back::<JobView>(value)),
            "JobViewList" => drop(there_and_back::<JobList>(value)),
            "JobEvent" => drop(there_and_back::<JobEvent>(value)),
            "ModelList" => drop(there_and_back::<ModelList>(value)),
            "Health" => drop(there_and_back::<Health>(value)),
            "WebhookEvent" => drop(there_and_back::<WebhookEvent>(value)),
            _ => seen -= 1,
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn events_go_over_a_stream_cut_anywhere() {
    let events: Vec<JobEvent> = examples()
        .into_iter()
        .filter(|(name, _)| *name == "JobEvent")
        .map(|(_, value)| serde_json::from_value(value).unwrap())
        .collect();
    assert_eq!(events.iter().filter(|event| event.data.is_last()).count(), 3);
    let mut stream = String::from(SSE_KEEP_ALIVE);
    for event in &events {
        let text = event.to_sse().unwrap();
        assert!(text.starts_with(&format!(
            "id: {}\nevent: {}\ndata: {{",
            event.sequence,
            event.data.name()
        )));
        assert_eq!(text.matches('\n').count(), 4);
        let data: Value = serde_json::from_str(text.lines().nth(2).unwrap().strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data["type"], event.data.name());
        stream += &text;
        stream += SSE_KEEP_ALIVE;
    }
    for piece in [1, 2, 7, 64, stream.len()] {
        let mut reader = SseReader::new();
        let mut read = Vec::new();
        for bytes in stream.as_bytes().chunks(piece) {
            read.extend(reader.push(bytes).unwrap());
        }
        assert_eq!(read, events, "{piece}");
    }
    let crlf = stream.replace('\n', "\r\n");
    assert_eq!(SseReader::new().push(crlf.as_bytes()).unwrap(), events);
    assert!(SseReader::new().push(b"data: {}\n\n").is_err());
    assert!(SseReader::new().push(&vec![b'x'; 2 << 20]).is_err());
}

#[test]
fn the_last_event_that_was_seen() {
    assert_eq!(JobEvent::last_seen(None), Ok(0));
    assert_eq!(JobEvent::last_seen(Some("")), Ok(0));
    assert_eq!(JobEvent::last_seen(Some(" 17 ")), Ok(17));
    for bad in ["-1", "x", "1.5", "99999999999999999999999"] {
        assert_eq!(JobEvent::last_seen(Some(bad)).unwrap_err().status, 400);
    }
}

#[test]
fn health_is_that_of_the_worst_check() {
    let check = |status| Check { status, message: None };
    let health = |statuses: &[HealthStatus]| {
        let checks = statuses
            .iter()
            .enumerate()
            .map(|(i, status)| (i.to_string(), check(*status)));
        let health = Health::new("1", checks.collect());
        (health.status, health.http_status())
    };
    assert_eq!(health(&[]), (HealthStatus::Ok, 200));
    assert_eq!(
        health(&[HealthStatus::Degraded, HealthStatus::Ok]),
        (HealthStatus::Degraded, 200)
    );
    assert_eq!(
        health(&[HealthStatus::Ok, HealthStatus::Failing]),
        (HealthStatus::Failing, 503)
    );
}
