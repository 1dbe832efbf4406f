//! A client that does one request on one connection, says exactly what it is told to, and holds every JSON answer
//! against the published schema.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::{Running, schemas};

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?} {}", self.headers, String::from_utf8_lossy(&self.body)))
    }

    /// The JSON of an answer that has to have this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        self.json()
    }

    /// An error has to be exactly this.
    #[track_caller]
    pub fn expect_error(&self, status: u16, code: &str, param: Option<&str>, message: &str) {
        let expected = serde_json::json!({ "error": {
            "message": message, "type": if status >= 500 { "server_error" } else { "invalid_request_error" },
            "param": param, "code": code,
        }});
        assert_eq!((self.status, self.json()), (status, expected));
    }

    /// An error has to have these; the message is returned.
    #[track_caller]
    pub fn expect_code(&self, status: u16, code: &str, param: Option<&str>) -> String {
        let json = self.expect(status);
        assert_eq!(
            (&json["error"]["code"], &json["error"]["param"]),
            (&code.into(), &param.into()),
            "{json}"
        );
        json["error"]["message"].as_str().unwrap().to_owned()
    }
}

/// Reads an answer to its end.
pub fn read_reply(stream: &mut impl Read, is_head: bool) -> Option<Reply> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        if let Some(reply) = parsed(&bytes, is_head, false) {
            return Some(reply);
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return parsed(&bytes, is_head, true),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

fn parsed(bytes: &[u8], is_head: bool, ended: bool) -> Option<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().unwrap();
    if status == 100 {
        return parsed(&bytes[end + 4..], is_head, ended);
    }
    let split = |line: &str| {
        line.split_once(": ")
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let headers: Vec<_> = lines.filter_map(split).collect();
    let mut reply = Reply {
        status,
        headers,
        body: Vec::new(),
    };
    let rest = &bytes[end + 4..];
    if is_head || status == 304 || status == 204 {
        return Some(reply);
    }
    if reply.header("transfer-encoding") == Some("chunked") {
        reply.body = unchunked(rest)?;
        return Some(reply);
    }
    match reply
        .header("content-length")
        .map(|length| length.parse::<usize>().unwrap())
    {
        Some(length) if rest.len() >= length => reply.body = rest[..length].to_vec(),
        None if ended => reply.body = rest.to_vec(),
        _ => return None,
    }
    Some(reply)
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

impl Running {
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// One request; the answer's JSON has to fit its schema.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = self.connect();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
            self.address
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let chunked = headers.iter().any(|(name, _)| *name == "transfer-encoding");
        if !chunked && (!body.is_empty() || matches!(method, "POST" | "PUT")) {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses early closes while we still write.
        stream.write_all(body).ok();
        let reply = read_reply(&mut stream, method == "HEAD").unwrap_or_else(|| panic!("no answer to {method} {path}"));
        assert!(
            reply.header("x-request-id").is_some_and(|id| id.starts_with("req_")),
            "{reply:?}"
        );
        schemas::check(method, path, &reply);
        reply
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], b"")
    }

    #[track_caller]
    pub fn post(&self, path: &str, json: &Value) -> Reply {
        self.post_with(path, json, &[])
    }

    #[track_caller]
    pub fn post_with(&self, path: &str, json: &Value, headers: &[(&str, &str)]) -> Reply {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.send("POST", path, &headers, json.to_string().as_bytes())
    }

    #[track_caller]
    pub fn post_form(&self, path: &str, form: &Form) -> Reply {
        self.send("POST", path, &[("content-type", &form.content_type())], &form.bytes())
    }
}

/// A multipart body.
#[derive(Default)]
pub struct Form {
    parts: Vec<u8>,
}

pub const BOUNDARY: &str = "------------------------f00dfacecafe";

impl Form {
    pub fn new(texts: &[(&str, &str)]) -> Self {
        let mut form = Self::default();
        for (name, text) in texts {
            form.part(
                &format!("content-disposition: form-data; name=\"{name}\""),
                text.as_bytes(),
            );
        }
        form
    }

    pub fn with_file(mut self, name: &str, file_name: &str, kind: &str, bytes: &[u8]) -> Self {
        let head = format!(
            "content-disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\ncontent-type: {kind}"
        );
        self.part(&head, bytes);
        self
    }

    pub fn part(&mut self, head: &str, bytes: &[u8]) {
        self.parts.extend(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").bytes());
        self.parts.extend_from_slice(bytes);
        self.parts.extend(b"\r\n");
    }

    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    pub fn bytes(&self) -> Vec<u8> {
        [self.parts.as_slice(), format!("--{BOUNDARY}--\r\n").as_bytes()].concat()
    }
}
