//! Headers that the SDKs read or send, by name.

/// On the first answer about a video that is not finished: after how many milliseconds to ask again. Clients read it
/// from the first answer only.
pub const POLL_AFTER_MS: &str = "openai-poll-after-ms";
/// On every answer: names the request, for reports and the log.
pub const REQUEST_ID: &str = "x-request-id";
/// On every answer: how long the server worked on it.
pub const PROCESSING_MS: &str = "openai-processing-ms";
/// On every answer: the version of the interface, [`VERSION`].
pub const OPENAI_VERSION: &str = "openai-version";
/// The value of [`OPENAI_VERSION`].
pub const VERSION: &str = "2020-10-01";
/// On a request: two with the same value are one.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// On an answer: fields of the request that mean nothing here, with commas between them.
pub const IGNORED_FIELDS: &str = "kinora-ignored-fields";

/// The value of [`IGNORED_FIELDS`], or `None` if nothing was ignored. Names from outside may hold anything, so what a
/// header cannot carry becomes `?`, and a long list ends in `…` spelt as three dots.
pub fn ignored_fields(ignored: &[String]) -> Option<String> {
    const LONGEST: usize = 1000;
    let plain = |c: char| if c.is_ascii_graphic() && c != ',' { c } else { '?' };
    let names = ignored.iter().map(|name| name.chars().map(plain).collect::<String>());
    let mut value = names.collect::<Vec<_>>().join(", ");
    if value.len() > LONGEST {
        value.truncate(LONGEST);
        value.push_str("...");
    }
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_fields_fit_in_a_header() {
        assert_eq!(ignored_fields(&[]), None);
        let odd = [
            "size_hint".to_owned(),
            "a\r\nset-cookie: x".to_owned(),
            "ключ,".to_owned(),
        ];
        assert_eq!(ignored_fields(&odd).unwrap(), "size_hint, a??set-cookie:?x, ?????");
        assert_eq!(ignored_fields(&["x".repeat(5000)]).unwrap().len(), 1003);
    }
}
