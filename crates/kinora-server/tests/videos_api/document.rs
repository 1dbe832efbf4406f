//! The published description against the running server.

use crate::support::schemas::document;
use crate::support::server;

/// Every route under `/v1` that the document describes is there, for its method.
#[test]
fn every_route_of_the_document_is_served() {
    let running = server();
    let mut seen = 0;
    for (template, item) in document()["paths"].as_object().unwrap() {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .filter(|_| template.starts_with("/v1/"))
        {
            let path = template
                .replace("{video_id}", "video_1")
                .replace("{character_id}", "char_1");
            for path in [path.as_str(), path.strip_prefix("/v1").unwrap()] {
                let reply = running.send(&method.to_uppercase(), path, &[], b"");
                let text = String::from_utf8_lossy(&reply.body).into_owned();
                assert!(
                    reply.status != 405 && !text.contains("unknown_url"),
                    "{method} {path}: {text}"
                );
                let known = &item[method]["responses"][reply.status.to_string()];
                assert!(
                    known.is_object(),
                    "{method} {path} gives {}, which the document does not name",
                    reply.status
                );
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 20, "OpenAI's ten, twice");
}
