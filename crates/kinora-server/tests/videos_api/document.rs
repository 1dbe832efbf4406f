//! The published description against the running server.

use crate::support::schemas::document;
use crate::support::server;

/// Every route under `/v1` that the document describes is there, for its method; OpenAI's ten also without `/v1`.
#[test]
fn every_route_of_the_document_is_served() {
    let running = server();
    let mut videos = 0;
    for (template, item) in document()["paths"].as_object().unwrap() {
        let path = template
            .replace("{video_id}", "video_1")
            .replace("{character_id}", "char_1")
            .replace(['{', '}'], "");
        for method in item.as_object().unwrap().keys().filter(|_| path.starts_with("/v1/")) {
            let short = path.strip_prefix("/v1").filter(|short| short.starts_with("/videos"));
            videos += usize::from(short.is_some());
            for path in [Some(path.as_str()), short].into_iter().flatten() {
                let reply = running.send(&method.to_uppercase(), path, &[], b"");
                let text = String::from_utf8_lossy(&reply.body).into_owned();
                assert!(
                    reply.status != 405 && !text.contains("unknown_url"),
                    "{method} {path}: {text}"
                );
                let known = &item[method]["responses"][reply.status.to_string()];
                let status = reply.status;
                assert!(
                    known.is_object(),
                    "{method} {path} gives {status}, which the document does not name"
                );
            }
        }
    }
    assert_eq!(videos, 10);
}
