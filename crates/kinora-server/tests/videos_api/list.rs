//! Lists of videos go on page by page, in both orders, also after a video that was deleted.

use serde_json::{Value, json};

use crate::support::{Running, server};

fn make(running: &Running, count: usize) -> Vec<String> {
    let one = |n| {
        running
            .post("/v1/videos", &json!({ "prompt": format!("{n}") }))
            .expect(200)
    };
    (0..count).map(|n| one(n)["id"].as_str().unwrap().to_owned()).collect()
}

fn ids(list: &Value) -> Vec<&str> {
    let data = list["data"].as_array().unwrap();
    data.iter().map(|video| video["id"].as_str().unwrap()).collect()
}

#[test]
fn an_empty_list() {
    let list = server().get("/v1/videos").expect(200);
    assert_eq!(
        list,
        json!({ "object": "list", "data": [], "first_id": null, "last_id": null, "has_more": false })
    );
}

#[test]
fn pages_go_on_in_both_orders() {
    let running = server();
    let made = make(&running, 5);
    let page = running.get("/v1/videos?limit=2").expect(200);
    assert_eq!(ids(&page), [&made[4], &made[3]]);
    assert_eq!(
        (&page["first_id"], &page["last_id"], &page["has_more"]),
        (&json!(made[4]), &json!(made[3]), &json!(true))
    );
    let next = running
        .get(&format!("/v1/videos?limit=2&after={}", made[3]))
        .expect(200);
    assert_eq!(ids(&next), [&made[2], &made[1]]);
    let last = running
        .get(&format!("/v1/videos?limit=2&after={}&order=desc", made[1]))
        .expect(200);
    assert_eq!((ids(&last), &last["has_more"]), (vec![&*made[0]], &json!(false)));
    let up = running
        .get(&format!("/v1/videos?order=asc&after={}", made[2]))
        .expect(200);
    assert_eq!(ids(&up), [&made[3], &made[4]]);
    assert_eq!(ids(&running.get("/v1/videos?limit=0").expect(200)), Vec::<&str>::new());
}

#[test]
fn a_page_goes_on_after_a_deleted_video() {
    let running = server();
    let made = make(&running, 6);
    // The middle of the list goes away between two pages, in both orders.
    for id in [&made[2], &made[3]] {
        running.delete(&format!("/v1/videos/{id}")).expect(200);
    }
    let down = running.get(&format!("/v1/videos?after={}", made[3])).expect(200);
    assert_eq!(ids(&down), [&made[1], &made[0]]);
    let up = running
        .get(&format!("/v1/videos?order=asc&after={}", made[2]))
        .expect(200);
    assert_eq!(ids(&up), [&made[4], &made[5]]);
    // All of them.
    for id in [&made[0], &made[1], &made[4], &made[5]] {
        running.delete(&format!("/v1/videos/{id}")).expect(200);
    }
    assert_eq!(
        ids(&running.get(&format!("/v1/videos?after={}", made[5])).expect(200)),
        Vec::<&str>::new()
    );
}

#[test]
fn wrong_queries() {
    let running = server();
    running
        .get("/v1/videos?limit=101")
        .expect_code(400, "integer_above_max_value", Some("limit"));
    running
        .get("/v1/videos?limit=x")
        .expect_code(400, "invalid_type", Some("limit"));
    running
        .get("/v1/videos?order=up")
        .expect_code(400, "invalid_value", Some("order"));
    running
        .get("/v1/videos?after=video_zz")
        .expect_code(404, "not_found", Some("video_id"));
    running
        .get("/v1/videos?after=%00")
        .expect_code(404, "not_found", Some("video_id"));
}
