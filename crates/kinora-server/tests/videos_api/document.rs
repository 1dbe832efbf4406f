//! The published description against the running server.

use crate::support::schemas::document;
use crate::support::{server, server_with};

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

/// Room is looked for before a body with files is read, whatever the route then makes of it.
#[test]
fn a_full_disk_gives_statuses_of_the_document() {
    let running = server_with(|config| config.limits.free_bytes = u64::MAX);
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let body = b"--b\r\ncontent-disposition: form-data; name=\"prompt\"\r\n\r\nx\r\n--b--\r\n";
    let mut full = 0;
    for (path, item) in document()["paths"].as_object().unwrap() {
        if !path.starts_with("/v1/") || item["post"]["requestBody"].is_null() {
            continue;
        }
        let reply = running.send("POST", &path.replace(['{', '}'], ""), &headers, body);
        let status = reply.status.to_string();
        assert!(
            item["post"]["responses"][&status].is_object(),
            "{path} gives {status}, which the document does not name"
        );
        full += usize::from(reply.status == 507);
    }
    // The rest find out first that their source or endpoint is not there.
    assert_eq!(full, 6);
}
