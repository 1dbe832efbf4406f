//! Forms: percent signs and brackets.

use super::{DEEPEST, MOST_FIELDS, Node, Part, PartValue};
use crate::ApiError;

/// The pairs of a form in one line.
pub(super) fn urlencoded(bytes: &[u8]) -> Result<Vec<Part>, ApiError> {
    let pairs = bytes.split(|b| *b == b'&').filter(|pair| !pair.is_empty());
    pairs
        .take(MOST_FIELDS + 1)
        .map(|pair| {
            let at = pair.iter().position(|b| *b == b'=');
            let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
            Ok(Part::text(unescaped(name)?, unescaped(value)?))
        })
        .collect()
}

/// The text behind `+` and `%41`. A percent sign without two digits stands for itself.
fn unescaped(bytes: &[u8]) -> Result<String, ApiError> {
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8(out).map_err(|_| ApiError::malformed_body("The form is not UTF-8."))
}

/// The tree behind names with brackets.
///
/// **Errors**: too many fields, brackets nested too deep, a field given twice, or as a value and as an object.
pub(super) fn nested(parts: Vec<Part>) -> Result<Vec<(String, Node)>, ApiError> {
    if parts.len() > MOST_FIELDS {
        let what = format!("The form has more than {MOST_FIELDS} fields.");
        return Err(ApiError::malformed_body(&what));
    }
    let mut root = Vec::new();
    for Part { name, value } in parts {
        let leaf = match value {
            PartValue::Text(text) => Node::Form(text),
            PartValue::File(upload) => Node::File(upload),
        };
        let keys = keys(&name);
        if keys.len() > DEEPEST {
            let what = format!("Brackets nest deeper than {DEEPEST}.");
            return Err(ApiError::malformed_body(&what));
        }
        insert(&mut root, &keys, leaf, &name)?;
    }
    Ok(root)
}

/// `a[b][]` is `a`, `b` and nothing; a name whose brackets do not match stands for itself.
fn keys(name: &str) -> Vec<&str> {
    let Some((first, rest)) = name.split_once('[') else {
        return vec![name];
    };
    let Some(rest) = rest.strip_suffix(']') else {
        return vec![name];
    };
    let inner: Vec<&str> = rest.split("][").collect();
    if first.is_empty() || inner.iter().any(|key| key.contains(['[', ']'])) {
        return vec![name];
    }
    [vec![first], inner].concat()
}

fn insert(map: &mut Vec<(String, Node)>, keys: &[&str], leaf: Node, name: &str) -> Result<(), ApiError> {
    let [key, rest @ ..] = keys else {
        return Ok(());
    };
    let found = map.iter().position(|(known, _)| known == key);
    let index = found.unwrap_or_else(|| {
        let empty = match rest.first() {
            None => Node::Null,
            Some(&"") => Node::List(Vec::new()),
            Some(_) => Node::Map(Vec::new()),
        };
        map.push(((*key).to_owned(), empty));
        map.len() - 1
    });
    match (&mut map[index].1, rest) {
        (node @ Node::Null, []) if found.is_none() => *node = leaf,
        (Node::List(items), ["", rest @ ..]) => append(items, rest, leaf, name)?,
        (Node::Map(inner), [key, ..]) if !key.is_empty() => insert(inner, rest, leaf, name)?,
        (Node::Form(_) | Node::File(_), []) => {
            return Err(ApiError::invalid_value(
                name,
                name,
                "This field was given more than once.",
            ));
        }
        _ => {
            let rule = "This field was given in two ways that do not fit together.";
            return Err(ApiError::invalid_value(name, name, rule));
        }
    }
    Ok(())
}

/// `a[]` appends; `a[][id]` belongs to the last object as long as that has no `id` yet.
fn append(items: &mut Vec<Node>, rest: &[&str], leaf: Node, name: &str) -> Result<(), ApiError> {
    let [key, deeper @ ..] = rest else {
        items.push(leaf);
        return Ok(());
    };
    if key.is_empty() {
        let mut inner = Vec::new();
        append(&mut inner, deeper, leaf, name)?;
        items.push(Node::List(inner));
        return Ok(());
    }
    let fits = |node: &Node| match node {
        Node::Map(members) => !deeper.is_empty() || members.iter().all(|(known, _)| known != key),
        _ => false,
    };
    if !items.last().is_some_and(fits) {
        items.push(Node::Map(Vec::new()));
    }
    match items.last_mut() {
        Some(Node::Map(members)) => insert(members, rest, leaf, name),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Vec<(String, Node)> {
        nested(urlencoded(text.as_bytes()).unwrap()).unwrap()
    }

    fn text(text: &str) -> Node {
        Node::Form(text.to_owned())
    }

    fn map(members: &[(&str, Node)]) -> Node {
        Node::Map(
            members
                .iter()
                .map(|(key, node)| ((*key).to_owned(), node.clone()))
                .collect(),
        )
    }

    #[test]
    fn brackets_become_objects_and_arrays() {
        let read = Node::Map(tree(
            "prompt=a+b%2Bc&video[id]=video_1&metadata[a]=1&nested%5Bx%5D%5By%5D=2&loras[]=p&loras[]=q&\
             characters[][id]=char_1&characters[][id]=char_2&characters[][name]=n",
        ));
        let expected = map(&[
            ("prompt", text("a b+c")),
            ("video", map(&[("id", text("video_1"))])),
            ("metadata", map(&[("a", text("1"))])),
            ("nested", map(&[("x", map(&[("y", text("2"))]))])),
            ("loras", Node::List(vec![text("p"), text("q")])),
            (
                "characters",
                Node::List(vec![
                    map(&[("id", text("char_1"))]),
                    map(&[("id", text("char_2")), ("name", text("n"))]),
                ]),
            ),
        ]);
        assert_eq!(read, expected);
    }

    #[test]
    fn names_with_broken_brackets_stand_for_themselves() {
        for name in ["a[", "a]", "[a]", "a[b]c", "a[[b]]", "[", ""] {
            assert_eq!(keys(name), [name]);
        }
        assert_eq!(keys("a[b][][0]"), ["a", "b", "", "0"]);
    }

    #[test]
    fn percent_signs() {
        assert_eq!(unescaped(b"%F0%9F%8E%AC%zz%4%").unwrap(), "🎬%zz%4%");
        assert_eq!(unescaped(b"%ff").unwrap_err().status, 400);
        assert_eq!(urlencoded(b"&&a&b=&=c&d=e=f").unwrap().len(), 4);
    }

    #[test]
    fn fields_that_contradict_each_other_are_refused() {
        for bad in [
            "a=1&a=2",
            "a=1&a[b]=2",
            "a[b]=2&a=1",
            "a[]=1&a[b]=2",
            "a[b]=1&a[]=2",
            "a[]=1&a=2",
        ] {
            let error = nested(urlencoded(bad.as_bytes()).unwrap()).unwrap_err();
            assert_eq!(error.status, 400, "{bad}");
        }
        let deep = format!("a{}=1", "[x]".repeat(DEEPEST));
        assert!(nested(urlencoded(deep.as_bytes()).unwrap()).is_err());
        let many = "a[]=1&".repeat(MOST_FIELDS + 1);
        assert!(nested(urlencoded(many.as_bytes()).unwrap()).is_err());
    }
}
