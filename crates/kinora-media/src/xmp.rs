//! Metadata as an XMP packet, for WebP: the title, comment and encoder as the properties that viewers show, and the rest
//! as key-value pairs in a name space of our own.
//!
//! **Source**: Adobe, "XMP Specification Part 1" (ISO 16684-1). The reader finds these properties in packets of others too.

/// Property and closing tags around the value, by our name.
const KNOWN: [(&str, &str, &str); 3] = [
    (
        "title",
        "<dc:title><rdf:Alt><rdf:li xml:lang=\"x-default\">",
        "</rdf:li></rdf:Alt></dc:title>",
    ),
    (
        "comment",
        "<dc:description><rdf:Alt><rdf:li xml:lang=\"x-default\">",
        "</rdf:li></rdf:Alt></dc:description>",
    ),
    ("encoder", "<xmp:CreatorTool>", "</xmp:CreatorTool>"),
];

/// The packet; empty without entries. Order: known names first, then the others as given.
pub(crate) fn write(metadata: &[(String, String)]) -> String {
    if metadata.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?><x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\
         <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"><rdf:Description rdf:about=\"\" \
         xmlns:dc=\"http://purl.org/dc/elements/1.1/\" xmlns:xmp=\"http://ns.adobe.com/xap/1.0/\" xmlns:kinora=\"urn:kinora:metadata:1\">",
    );
    for (name, open, close) in KNOWN {
        for (_, value) in metadata.iter().filter(|e| e.0 == name) {
            out += &format!("{open}{}{close}", escape(value));
        }
    }
    let rest: Vec<_> = metadata.iter().filter(|e| KNOWN.iter().all(|k| k.0 != e.0)).collect();
    if !rest.is_empty() {
        out += "<kinora:entries><rdf:Seq>";
        for (key, value) in rest {
            out += &format!(
                "<rdf:li rdf:parseType=\"Resource\"><kinora:key>{}</kinora:key><kinora:value>{}</kinora:value></rdf:li>",
                escape(key),
                escape(value)
            );
        }
        out += "</rdf:Seq></kinora:entries>";
    }
    out + "</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end=\"r\"?>"
}

/// The entries of a packet.
pub(crate) fn read(packet: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (name, open, _) in KNOWN {
        let tag = open.split('>').next().unwrap_or_default().trim_start_matches('<');
        if let Some(inner) = element(packet, tag).map(|e| e.0) {
            let value = element(inner, "rdf:li").map_or(inner, |e| e.0);
            if !value.contains('<') {
                out.push((name.to_string(), unescape(value)));
            }
        }
    }
    let mut rest = packet;
    while let Some((key, after)) = element(rest, "kinora:key") {
        let Some((value, after)) = element(after, "kinora:value") else {
            break;
        };
        out.push((unescape(key), unescape(value)));
        rest = after;
    }
    out
}

/// The content of the first element of this name, and what follows it.
fn element<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let open = format!("<{name}");
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(&open)? + open.len();
        let rest = text.get(at..)?;
        if !rest.starts_with(['>', ' ', '\n', '\t', '\r']) {
            from = at;
            continue;
        }
        let rest = &rest[rest.find('>')? + 1..];
        let end = rest.find(&format!("</{name}>"))?;
        return Some((&rest[..end], &rest[end..]));
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' | '\r' | '\t' => out += &format!("&#{};", c as u32),
            c => out.push(c),
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out += &rest[..at];
        rest = &rest[at..];
        let Some(end) = rest.find(';') else { break };
        let entity = &rest[1..end];
        let number = entity.strip_prefix("#x").map_or_else(
            || entity.strip_prefix('#').and_then(|d| d.parse().ok()),
            |hex| u32::from_str_radix(hex, 16).ok(),
        );
        let c = match entity {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => number.and_then(char::from_u32),
        };
        match c {
            Some(c) => out.push(c),
            None => out += &rest[..=end],
        }
        rest = &rest[end + 1..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back() {
        let list: Vec<(String, String)> = [
            ("title", "a <b> & \"c\""),
            ("comment", "two\nlines\t\r"),
            ("encoder", "Kinora"),
            ("kinora", "{\"p\":\"日本 &amp; <x>\"}"),
            ("x", ""),
        ]
        .map(|(a, b)| (a.into(), b.into()))
        .into();
        assert_eq!(read(&write(&list)), list);
        assert!(write(&[]).is_empty());
    }

    #[test]
    fn damaged_packets_do_no_harm() {
        let packet = write(&[("kinora".into(), "v & w".into()), ("title".into(), "ü".into())]);
        for n in (0..packet.len()).filter(|&n| packet.is_char_boundary(n)) {
            let _ = read(&packet[..n]);
        }
        assert_eq!(
            unescape("&bogus; &#65;&#x42; &#1114112; & end"),
            "&bogus; AB &#1114112; & end"
        );
    }
}
