//! Projects do not see each other: what is another's looks like nothing.

use kinora_jobs::{JobId, Store, Submission};
use serde_json::json;

use crate::support::server;

#[test]
fn what_belongs_to_another_project_is_not_found() {
    let running = server();
    let mine = running.post("/v1/videos", &json!({ "prompt": "mine" })).expect(200);
    let work = running
        .store
        .get(&JobId(mine["id"].as_str().unwrap().to_owned()))
        .unwrap()
        .request;
    let id = format!("video_{}", "0f".repeat(24));
    let mut theirs = Submission::new("other", "other", "video/sora-2", work);
    theirs.id = Some(JobId(id.clone()));
    running.store.submit(&theirs).unwrap();

    let message = format!("Video with id '{id}' not found.");
    let path = format!("/v1/videos/{id}");
    let extension = json!({ "prompt": "x", "seconds": "4", "video": { "id": id } });
    for reply in [
        running.get(&path),
        running.delete(&path),
        running.get(&format!("{path}/content")),
        running.post(&format!("{path}/remix"), &json!({ "prompt": "x" })),
        running.post("/v1/videos/edits", &json!({ "prompt": "x", "video": { "id": id } })),
        running.post("/v1/videos/extensions", &extension),
        running.get(&format!("/v1/videos?after={id}")),
    ] {
        reply.expect_error(404, "not_found", Some("video_id"), &message);
    }
    let list = running.get("/v1/videos").expect(200);
    assert_eq!(
        (list["data"].as_array().unwrap().len(), &list["data"][0]["id"]),
        (1, &mine["id"])
    );
    assert_eq!(running.jobs(), 2);

    let folder = running.folder.path().join("files/characters/other/char_1");
    std::fs::create_dir_all(&folder).unwrap();
    let record = json!({ "id": "char_1", "name": "x", "subject": null, "created_at": 1, "picture": "uploads/x" });
    std::fs::write(folder.join("character.json"), record.to_string()).unwrap();
    running
        .get("/v1/videos/characters/char_1")
        .expect_code(404, "not_found", Some("character_id"));
    running
        .get("/v1/videos/characters/..%2Fother%2Fchar_1")
        .expect_code(404, "not_found", Some("character_id"));
}
