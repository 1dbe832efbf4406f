//! Keeps web pages away from a server without keys.
//!
//! Such a server trusts whoever reaches it, and a browser on this machine reaches it in the name of any page. Two things
//! give a page away: the `Host` that it believes it talks to, if a name of its own was bound to 127.0.0.1 (DNS rebinding),
//! and the `Origin` that browsers add to everything that could change something. Programs that are no browsers send
//! neither a foreign host nor an origin.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};
use kinora_api::{ApiError, ErrorType};

use crate::Config;

/// Whether a request without a key comes from this machine and from no page of others.
///
/// **Errors**: 403.
pub(super) fn check(config: &Config, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let host = host_of(uri, headers)?;
    if let Some(host) = &host
        && !is_here(host, config.address)
    {
        return Err(refused("foreign_host", "It was sent to the name of another host."));
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let allowed = config.cors.iter().any(|allowed| allowed == "*" || allowed == origin);
    // A page that this server itself sent has the host of this server as its origin.
    let own = host.is_some_and(|host| {
        let page = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
        page.is_some_and(|page| page.eq_ignore_ascii_case(host.as_str()))
    });
    if allowed || own {
        return Ok(());
    }
    Err(refused("foreign_origin", "It comes from a web page of another origin."))
}

fn refused(code: &str, why: &str) -> ApiError {
    let message = format!("This server needs no key and answers this machine only. {why}");
    ApiError::new(403, ErrorType::PermissionError, Some(code), None, message)
}

/// The host that the client believes it talks to. A client without one is old, and no browser.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, ApiError> {
    let mut named = headers
        .get_all(HOST)
        .iter()
        .map(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let unreadable = || refused("foreign_host", "Its Host header cannot be read.");
    let first: Option<Authority> = match named.next() {
        Some(host) => Some(host.ok_or_else(unreadable)?),
        None => None,
    };
    if named.next().is_some() {
        return Err(unreadable());
    }
    // Over HTTP/2 the address has it; where both are there, they must both be ours, and the routes see the address.
    match (first, uri.authority()) {
        (Some(host), Some(authority)) if !host.as_str().eq_ignore_ascii_case(authority.as_str()) => Err(unreadable()),
        (host, authority) => Ok(host.or_else(|| authority.cloned())),
    }
}

fn is_here(host: &Authority, address: SocketAddr) -> bool {
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    if host.as_str().contains('@') {
        return false;
    }
    match name.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback() || ip == address.ip(),
        Err(_) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            // Browsers and resolvers hold `localhost` and names below it to be this machine (RFC 6761).
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(uri: &str, headers: &[(&'static str, &'static str)], cors: &[&str]) -> Option<String> {
        let mut config = Config::new("127.0.0.1:8000".parse().unwrap(), "x".into());
        config.cors = cors.iter().map(|&origin| origin.to_owned()).collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        check(&config, &uri.parse().unwrap(), &map)
            .err()
            .map(|error| error.object.code.unwrap_or_default())
    }

    #[test]
    fn only_names_of_this_machine_are_ours() {
        for host in [
            "localhost",
            "localhost:8000",
            "LOCALHOST.:1",
            "studio.localhost",
            "127.0.0.1:8000",
            "127.3.2.1",
            "[::1]:8000",
        ] {
            assert_eq!(code("/v1/videos", &[("host", host)], &[]), None, "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "192.168.0.1",
            "169.254.169.254",
            "[::ffff:10.0.0.1]",
            "localhost@evil.example",
            "0.0.0.0",
            "2130706433",
            "a b",
        ] {
            let got = code("/v1/videos", &[("host", host)], &[]);
            assert_eq!(got.as_deref(), Some("foreign_host"), "{host}");
        }
        assert_eq!(code("/", &[], &[]), None, "HTTP/1.0 has no host");
        assert_eq!(code("http://localhost/", &[], &[]), None);
        assert_eq!(code("http://evil.example/", &[], &[]).as_deref(), Some("foreign_host"));
        for hosts in [[("host", "localhost"), ("host", "evil.example")]; 1] {
            assert_eq!(code("/", &hosts, &[]).as_deref(), Some("foreign_host"));
        }
        let both = code("http://evil.example/", &[("host", "localhost")], &[]);
        assert_eq!(both.as_deref(), Some("foreign_host"));
    }

    #[test]
    fn pages_of_others_are_refused_unless_cors_lets_them() {
        let from =
            |origin: &'static str, cors: &[&str]| code("/", &[("host", "localhost:8000"), ("origin", origin)], cors);
        assert_eq!(from("http://localhost:8000", &[]), None, "a page of this server");
        for origin in [
            "https://evil.example",
            "http://localhost:3000",
            "null",
            "http://localhost:8000.evil.example",
        ] {
            assert_eq!(from(origin, &[]).as_deref(), Some("foreign_origin"), "{origin}");
        }
        assert_eq!(from("http://localhost:3000", &["http://localhost:3000"]), None);
        assert_eq!(from("https://any.example", &["*"]), None);
        assert_eq!(
            from("https://evil.example", &["https://good.example"]).as_deref(),
            Some("foreign_origin")
        );
    }
}
