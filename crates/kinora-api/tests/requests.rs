//! Bodies as the SDKs and other programs send them.

#![allow(clippy::unwrap_used, clippy::panic)]

use kinora_api::*;
use serde_json::json;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and more";
const MP4: &[u8] = b"\0\0\0\x20ftypisom and more";

fn upload(bytes: &[u8]) -> Upload {
    // What the Python SDK makes of raw bytes.
    Upload::from_bytes(
        Some("upload".into()),
        Some("application/octet-stream".into()),
        bytes.to_vec(),
    )
}

fn create_json(value: serde_json::Value) -> Result<CreateVideo, ApiError> {
    CreateVideo::read(Body::Json(value.to_string().as_bytes()), &Rules::sora())
}

fn create_parts(parts: &[(&str, &str)]) -> Result<CreateVideo, ApiError> {
    let parts = parts.iter().map(|(name, text)| Part::text(*name, *text)).collect();
    CreateVideo::read(Body::Multipart(parts), &Rules::sora())
}

fn create_form(text: &str) -> Result<CreateVideo, ApiError> {
    CreateVideo::read(Body::Urlencoded(text.as_bytes()), &Rules::sora())
}

/// `param` and `code` of a 400.
fn wrong(result: Result<CreateVideo, ApiError>) -> (String, String) {
    let error = result.unwrap_err();
    assert_eq!(error.status, 400, "{error}");
    (
        error.object.param.unwrap_or_default(),
        error.object.code.unwrap_or_default(),
    )
}

fn pair(param: &str, code: &str) -> (String, String) {
    (param.to_owned(), code.to_owned())
}

#[test]
fn the_three_encodings_give_the_same_request() {
    let json = json!({
        "prompt": "a cat & a dog = 2 🐈", "model": "sora-2-pro", "seconds": "8", "size": "1024x1792", "seed": 5,
        "guidance_scale": 4.5, "enhance_prompt": true, "negative_prompt": "rain",
        "characters": [{ "id": "char_1" }, { "id": "char_2" }], "input_reference": { "file_id": "file-9" },
        "loras": [{ "name": "ink", "scale": 0.5 }], "metadata": { "a": "1" },
    });
    let from_json = create_json(json).unwrap();
    let pairs = [
        ("prompt", "a cat & a dog = 2 🐈"),
        ("model", "sora-2-pro"),
        ("seconds", "8"),
        ("size", "1024x1792"),
        ("seed", "5"),
        ("guidance_scale", "4.5"),
        ("enhance_prompt", "true"),
        ("negative_prompt", "rain"),
        ("characters[][id]", "char_1"),
        ("characters[][id]", "char_2"),
        ("input_reference[file_id]", "file-9"),
        ("loras[][name]", "ink"),
        ("loras[][scale]", "0.5"),
        ("metadata[a]", "1"),
    ];
    assert_eq!(create_parts(&pairs).unwrap(), from_json);
    let form = "prompt=a+cat+%26+a+dog+%3D+2+%F0%9F%90%88&model=sora-2-pro&seconds=8&size=1024x1792&seed=5&\
                guidance_scale=4.5&enhance_prompt=True&negative_prompt=rain&characters=[{\"id\":\"char_1\"},{\"id\":\"char_2\"}]&\
                input_reference={\"file_id\":\"file-9\"}&loras[0][name]=ink&loras[0][scale]=0.5&metadata[a]=1";
    assert_eq!(create_form(form).unwrap(), from_json);
    let curl = r#"  {"prompt": "x"}"#;
    assert_eq!(
        create_form(curl).unwrap(),
        CreateVideo::new("x"),
        "curl -d without a header"
    );
}

#[test]
fn content_types_choose_the_encoding() {
    assert_eq!(
        BodyKind::of(Some("application/json; charset=utf-8")),
        Ok(BodyKind::Json)
    );
    assert_eq!(
        BodyKind::of(Some("Multipart/Form-Data; boundary=x")),
        Ok(BodyKind::Multipart)
    );
    assert_eq!(
        BodyKind::of(Some("application/x-www-form-urlencoded")),
        Ok(BodyKind::Urlencoded)
    );
    for other in [None, Some(""), Some("text/plain"), Some("application/jsonp")] {
        assert_eq!(BodyKind::of(other).unwrap_err().status, 415);
    }
}

#[test]
fn requests_that_clients_write_are_read_alike() {
    for (name, example) in examples().into_iter().filter(|(name, _)| *name == "CreateVideo") {
        let request = create_json(example).unwrap();
        let written = serde_json::to_value(&request).unwrap();
        assert_eq!(create_json(written).unwrap(), request, "{name}");
    }
    let mut request = CreateVideo::new("x");
    request.input_reference = Some(ImageSource::Upload(Upload::from_bytes(
        None,
        Some("image/png".into()),
        PNG.into(),
    )));
    let written = serde_json::to_value(&request).unwrap();
    assert_eq!(
        create_json(written).unwrap(),
        request,
        "a picture travels as a data URL"
    );
}

#[test]
fn published_rules_have_published_errors() {
    let error = create_json(json!({ "prompt": "x", "seconds": "5" })).unwrap_err();
    assert_eq!(
        error.object.message,
        "Invalid value: '5'. Supported values are: '4', '8', '12', '16', and '20'."
    );
    assert_eq!(error.object.code.as_deref(), Some("invalid_value"));
    let size = |model: &str, size: &str| create_json(json!({ "prompt": "x", "model": model, "size": size }));
    assert!(size("sora-2-pro", "1920x1080").is_ok());
    assert!(size("sora-2-2025-12-08", "1280x720").is_ok());
    let error = size("sora-2", "1920x1080").unwrap_err();
    assert_eq!(
        error.object.message,
        "Invalid value: '1920x1080'. Supported values are: '720x1280' and '1280x720'."
    );
    assert_eq!(wrong(size("sora-3", "720x1280")), pair("model", "model_not_found"));
    assert_eq!(
        create_json(json!({ "prompt": "x", "seconds": 8 })).unwrap().seconds,
        Some(Seconds::whole(8))
    );
    assert_eq!(
        wrong(create_json(json!({}))),
        pair("prompt", "missing_required_parameter")
    );
    assert_eq!(
        wrong(create_json(json!({ "prompt": null }))),
        pair("prompt", "missing_required_parameter")
    );
    assert_eq!(
        wrong(create_json(json!({ "prompt": "" }))),
        pair("prompt", "empty_string")
    );
    let long = "é".repeat(LONGEST_PROMPT);
    assert!(create_json(json!({ "prompt": long })).is_ok());
    assert_eq!(
        wrong(create_json(json!({ "prompt": long + "é" }))),
        pair("prompt", "string_above_max_length")
    );
    let three = json!({ "prompt": "x", "characters": [{ "id": "char_1" }, { "id": "char_2" }, { "id": "char_3" }] });
    assert_eq!(wrong(create_json(three)), pair("characters", "array_above_max_length"));
}

#[test]
fn numbers_outside_their_ranges_are_refused_in_every_encoding() {
    for (field, value, code) in [
        ("seed", "-1", "integer_below_min_value"),
        ("seed", "9007199254740992", "integer_above_max_value"),
        ("seed", "99999999999999999999999999", "integer_above_max_value"),
        ("seed", "1.5", "invalid_type"),
        ("num_inference_steps", "0", "integer_below_min_value"),
        ("num_inference_steps", "201", "integer_above_max_value"),
        ("num_frames", "0", "integer_below_min_value"),
        ("num_frames", "601", "integer_above_max_value"),
        ("fps", "0", "decimal_below_min_value"),
        ("fps", "1e9", "decimal_above_max_value"),
        ("guidance_scale", "-0.1", "decimal_below_min_value"),
        ("guidance_scale", "20.5", "decimal_above_max_value"),
        ("n", "0", "integer_below_min_value"),
        ("n", "11", "integer_above_max_value"),
        ("boundary_ratio", "1.01", "decimal_above_max_value"),
    ] {
        assert_eq!(
            wrong(create_parts(&[("prompt", "x"), (field, value)])),
            pair(field, code),
            "{field}={value}"
        );
        let body = format!("{{\"prompt\": \"x\", \"{field}\": {value}}}");
        let result = CreateVideo::read(Body::Json(body.as_bytes()), &Rules::sora());
        assert_eq!(wrong(result), pair(field, code), "{body}");
    }
    for text in ["nan", "inf", "-inf", "", "x", "0x10", "1,5"] {
        assert_eq!(
            wrong(create_parts(&[("prompt", "x"), ("fps", text)])),
            pair("fps", "invalid_type"),
            "{text}"
        );
    }
    for value in [json!("5"), json!(true), json!([[1]]), json!({})] {
        assert_eq!(
            wrong(create_json(json!({ "prompt": "x", "seed": value }))),
            pair("seed", "invalid_type")
        );
    }
    assert_eq!(
        create_json(json!({ "prompt": "x", "seed": 4.0 })).unwrap().options.seed,
        [4]
    );
}

#[test]
fn names_of_other_servers_mean_the_same() {
    let a = create_json(
        json!({ "prompt": "x", "width": 1280, "height": 720, "num_outputs_per_prompt": 2, "seed": [1, 2] }),
    );
    let b = create_json(json!({ "prompt": "x", "size": "1280x720", "n": 2, "seed": [1, 2] }));
    assert_eq!(a.unwrap(), b.unwrap());
    let wrapped = create_parts(&[
        ("prompt", "x"),
        ("extra_body", r#"{"flow_shift": 3, "seed": 7}"#),
        ("lora", r#"{"name": "ink"}"#),
    ]);
    let options = wrapped.unwrap().options;
    assert_eq!((options.flow_shift, options.seed), (Some(3.0), vec![7]));
    assert_eq!(
        options.loras,
        [LoraRef {
            name: "ink".into(),
            scale: 1.0
        }]
    );
    let url = create_json(json!({ "prompt": "x", "reference_url": "https://example.org/a.png" })).unwrap();
    let image_url = "https://example.org/a.png".to_owned();
    assert_eq!(url.input_reference, Some(ImageSource::Url { image_url }));
    for (body, param) in [
        (json!({ "width": 1280, "height": 720, "size": "720x1280" }), "size"),
        (json!({ "width": 1280 }), "height"),
        (json!({ "n": 2, "num_outputs_per_prompt": 3 }), "n"),
        (json!({ "n": 3, "seed": [1, 2] }), "seed"),
        (json!({ "seed": 1, "extra_params": { "seed": 2 } }), "seed"),
        (json!({ "extra_params": "no json" }), "extra_params"),
        (json!({ "lora": { "name": "a" }, "loras": [] }), "lora"),
        (json!({ "loras": [{ "name": "a", "path": "/etc" }] }), "loras[0].path"),
        (
            json!({ "reference_url": "https://a", "input_reference": { "file_id": "f" } }),
            "input_reference",
        ),
    ] {
        let mut body = body;
        body["prompt"] = json!("x");
        assert_eq!(wrong(create_json(body.clone())).0, param, "{body}");
    }
}

#[test]
fn unknown_fields_are_told_and_foreign_ones_that_matter_refused() {
    let request =
        create_json(json!({ "prompt": "x", "enable_teacache": false, "foo": 1, "control_type": "", "bar": null }));
    assert_eq!(
        request.unwrap().ignored,
        ["bar", "control_type", "enable_teacache", "foo"].map(str::to_owned)
    );
    let refused = create_parts(&[("prompt", "x"), ("generate_sound", "true")]);
    assert_eq!(wrong(refused), pair("generate_sound", "unsupported_parameter"));
    let strict = Rules {
        unknown: UnknownFields::Refuse,
        ..Rules::sora()
    };
    let error = CreateVideo::read(Body::Json(br#"{"prompt": "x", "foo": 1}"#), &strict).unwrap_err();
    assert_eq!(error.object.message, "Unknown parameter: 'foo'.");
}

#[test]
fn pictures_come_in_four_ways() {
    let part = |value| vec![Part::text("prompt", "x"), value];
    let file = CreateVideo::read(
        Body::Multipart(part(Part::file("input_reference", upload(PNG)))),
        &Rules::sora(),
    );
    assert_eq!(file.unwrap().input_reference, Some(ImageSource::Upload(upload(PNG))));
    let clip = CreateVideo::read(
        Body::Multipart(part(Part::file("input_reference", upload(MP4)))),
        &Rules::sora(),
    );
    assert_eq!(wrong(clip), pair("input_reference", "unsupported_file_mimetype"));
    assert_eq!(
        wrong(create_parts(&[("prompt", "x"), ("input_reference", "cat.png")])),
        pair("input_reference", "invalid_type")
    );
    let of = |reference| create_json(json!({ "prompt": "x", "input_reference": reference }));
    for bad in [
        json!({}),
        json!({ "file_id": "f", "image_url": "https://a" }),
        json!({ "image_url": "file:///etc/passwd" }),
        json!({ "image_url": "data:image/png;base64,bm8=" }),
        json!({ "image_url": "data:image/png,no" }),
        json!({ "file_id": 5 }),
        json!({ "file_id": "f", "detail": "high" }),
        json!([]),
    ] {
        assert!(wrong(of(bad.clone())).0.starts_with("input_reference"), "{bad}");
    }
}

#[test]
fn videos_from_videos() {
    let rules = Rules::sora();
    let parts = |file: bool| {
        let video = if file {
            Part::file("video", upload(MP4))
        } else {
            Part::text("video[id]", "video_1")
        };
        vec![
            Part::text("prompt", "x"),
            video,
            Part::text("seconds", "8"),
            Part::text("strength", "0.5"),
        ]
    };
    let id = VideoSource::Video {
        id: "video_1".parse().unwrap(),
    };
    let edit = EditVideo::read(Body::Multipart(parts(false)), &rules).unwrap();
    assert_eq!(
        (&edit.video, edit.strength, edit.ignored),
        (&id, Some(0.5), vec!["seconds".to_owned()])
    );
    let extend = ExtendVideo::read(Body::Multipart(parts(true)), &rules).unwrap();
    assert_eq!(
        (extend.video, extend.seconds),
        (VideoSource::Upload(upload(MP4)), Seconds::whole(8))
    );
    let json = br#"{"prompt": "x", "seconds": 20, "video": {"id": "video_1"}}"#;
    assert_eq!(ExtendVideo::read(Body::Json(json), &rules).unwrap().video, id);
    let status = |json: &str| {
        let error = ExtendVideo::read(Body::Json(json.as_bytes()), &rules).unwrap_err();
        (error.status, error.object.param.unwrap())
    };
    assert_eq!(status(r#"{"prompt": "x", "seconds": "8"}"#), (400, "video".into()));
    assert_eq!(
        status(r#"{"prompt": "x", "video": {"id": "video_1"}}"#),
        (400, "seconds".into())
    );
    assert_eq!(
        status(r#"{"prompt": "x", "video": {"id": "../x"}, "seconds": "8"}"#),
        (404, "video_id".into())
    );
    assert_eq!(
        status(r#"{"prompt": "x", "video": {}, "seconds": "8"}"#),
        (400, "video.id".into())
    );
    assert_eq!(
        status(r#"{"prompt": "x", "video": "video_1", "seconds": "8"}"#),
        (400, "video".into())
    );
    let remix = RemixVideo::read(Body::Json(br#"{"prompt": "at night"}"#), &rules).unwrap();
    assert_eq!((remix.prompt.as_str(), remix.strength), ("at night", None));
}

#[test]
fn characters_are_made_from_files_only() {
    let rules = Rules::sora();
    let read = |parts| CreateCharacter::read(Body::Multipart(parts), &rules);
    let name = |text: &str| Part::text("name", text);
    let video = || Part::file("video", upload(MP4));
    assert_eq!(read(vec![name("Mossy"), video()]).unwrap().name, "Mossy");
    let param = |parts| read(parts).unwrap_err().object.param.unwrap();
    assert_eq!(param(vec![video()]), "name");
    assert_eq!(param(vec![name("Mossy")]), "video");
    assert_eq!(param(vec![name("Mossy"), Part::text("video[id]", "video_1")]), "video");
    assert_eq!(param(vec![name("Mossy"), Part::file("video", upload(PNG))]), "video");
    assert!(read(vec![name(&"é".repeat(80)), video()]).is_ok());
    assert_eq!(param(vec![name(&"é".repeat(81)), video()]), "name");
}

#[test]
fn lists() {
    assert_eq!(ListQuery::read("").unwrap(), ListQuery::default());
    let query = ListQuery::read("after=video_1&limit=0&order=asc&before=x").unwrap();
    assert_eq!(
        query,
        ListQuery {
            after: Some("video_1".into()),
            limit: 0,
            order: Order::Asc
        }
    );
    for (bad, param) in [
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
    ] {
        assert_eq!(ListQuery::read(bad).unwrap_err().object.param.as_deref(), Some(param));
    }
}

#[test]
fn native_requests() {
    let rules = Rules::sora();
    let variants = |json: &str| MakeVariants::read(Body::Json(json.as_bytes()), &rules);
    assert_eq!(variants(r#"{"seeds": [1, 2]}"#).unwrap().count, 2);
    assert_eq!(
        variants(r#"{"seeds": [1, 2], "count": 3}"#)
            .unwrap_err()
            .object
            .param
            .as_deref(),
        Some("seeds")
    );
    assert_eq!(variants("{}").unwrap_err().object.param.as_deref(), Some("count"));
    let board = |shots: serde_json::Value| {
        let body = json!({ "shots": shots }).to_string();
        CreateStoryboard::read(Body::Json(body.as_bytes()), &rules).map_err(|error| error.object.param.unwrap())
    };
    let shots =
        board(json!([{ "prompt": "a", "seconds": 4 }, { "prompt": "b", "seconds": "8", "transition": "continue" }]));
    let shots = shots.unwrap().shots;
    assert_eq!(
        (shots[0].transition, shots[1].transition),
        (Transition::Cut, Transition::Continue)
    );
    assert_eq!(board(json!([])), Err("shots".into()));
    assert_eq!(
        board(json!([{ "prompt": "a", "seconds": 4 }, { "prompt": "b" }])),
        Err("shots[1].seconds".into())
    );
    assert_eq!(
        board(json!([{ "prompt": "a", "seconds": 5 }])),
        Err("shots[0].seconds".into())
    );
    assert_eq!(board(json!([{ "seconds": 4 }])), Err("shots[0].prompt".into()));
    assert_eq!(
        board(json!([{ "prompt": "a", "seconds": 4, "transition": "fade" }])),
        Err("shots[0].transition".into())
    );
    assert_eq!(
        board(json!([{ "prompt": "a", "seconds": 4, "x": 1 }])),
        Err("shots[0].x".into())
    );
    let reference = json!([{ "prompt": "a", "seconds": 4, "input_reference": { "image_url": "ftp://x" } }]);
    assert_eq!(board(reference), Err("shots[0].input_reference.image_url".into()));
    let blend = BlendVideos::read(
        Body::Json(br#"{"from": "video_1", "to": "video_2", "curve": [0, 2]}"#),
        &rules,
    );
    assert_eq!(blend.unwrap_err().object.param.as_deref(), Some("curve[1]"));
    let blend = BlendVideos::read(Body::Json(br#"{"from": "video_1", "to": "x"}"#), &rules);
    assert_eq!(blend.unwrap_err().status, 404);
    let round = LoopVideo::read(Body::Urlencoded(b"video_id=video_1&seconds=0.5"), &rules).unwrap();
    assert_eq!(round.seconds, Some(Seconds::from_ms(500)));
}
