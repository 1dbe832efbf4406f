//! Reading fields by name and type, with errors that say which field is wrong.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::Node;
use crate::error::shortened;
use crate::{ApiError, Upload};

/// Fields inside of which other servers hide theirs; their content counts as if it stood outside.
const WRAPPERS: [&str; 2] = ["extra_params", "extra_body"];
/// The longest free text besides prompts, in characters.
const LONGEST_TEXT: usize = 32_000;

/// Where a field stands, as errors name it: `shots[2].prompt`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Path(String);

impl Path {
    fn of(&self, name: &str) -> String {
        if self.0.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.0)
        }
    }

    pub(crate) fn item(name: &str, index: usize) -> Self {
        Self(format!("{name}[{index}]"))
    }
}

/// The fields of a body; each is taken once, and what is left in the end is unknown.
#[derive(Debug)]
pub(crate) struct Fields {
    members: Vec<(String, Node)>,
    path: Path,
}

impl Fields {
    pub(super) fn new(mut members: Vec<(String, Node)>) -> Result<Self, ApiError> {
        for wrapper in WRAPPERS {
            let Some(at) = members.iter().position(|(name, _)| name == wrapper) else {
                continue;
            };
            let inner = match json_inside(members.remove(at).1) {
                Node::Null => Vec::new(),
                Node::Map(inner) => inner,
                other => return Err(ApiError::wrong_type(wrapper, "an object", other.kind())),
            };
            for (name, node) in inner {
                if members.iter().any(|(known, _)| *known == name) {
                    return Err(ApiError::conflict_of(&name, &format!("{wrapper}.{name}")));
                }
                members.push((name, node));
            }
        }
        Ok(Self {
            members,
            path: Path::default(),
        })
    }

    /// How errors name this field.
    pub(crate) fn param(&self, name: &str) -> String {
        self.path.of(name)
    }

    /// Takes a field out; `null` is the same as nothing.
    pub(crate) fn take(&mut self, name: &str) -> Option<Node> {
        let at = self.members.iter().position(|(known, _)| known == name)?;
        Some(self.members.remove(at).1).filter(|node| *node != Node::Null)
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        self.text_up_to(name, LONGEST_TEXT)
    }

    /// A text of at most so many characters.
    pub(crate) fn text_up_to(&mut self, name: &str, most: usize) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Node::Text(text) | Node::Form(text)) => {
                at_most(&self.param(name), &text, most)?;
                Ok(Some(text))
            }
            Some(other) => Err(ApiError::wrong_type(&self.param(name), "a string", other.kind())),
        }
    }

    /// A text of at least one and at most so many characters.
    pub(crate) fn required_text(&mut self, name: &str, most: usize) -> Result<String, ApiError> {
        let param = self.param(name);
        let text = match self.take(name) {
            None => return Err(ApiError::missing(&param)),
            Some(Node::Text(text) | Node::Form(text)) => text,
            Some(other) => return Err(ApiError::wrong_type(&param, "a string", other.kind())),
        };
        if text.is_empty() {
            let message = "empty string. Expected a string with minimum length 1, but got an empty string instead.";
            return Err(ApiError::out_of_range(&param, "empty_string", message.to_owned()));
        }
        at_most(&param, &text, most)?;
        Ok(text)
    }

    /// A text that has a form; numbers are taken as if they stood in quotes (`"seconds": 4`).
    pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(
        &mut self,
        name: &str,
        rule: &str,
    ) -> Result<Option<T>, ApiError> {
        let text = match self.take(name) {
            None => return Ok(None),
            Some(Node::Text(text) | Node::Form(text)) => text,
            Some(Node::Number(number)) => number.to_string(),
            Some(other) => return Err(ApiError::wrong_type(&self.param(name), "a string", other.kind())),
        };
        let read = text.parse();
        read.map(Some)
            .map_err(|_| ApiError::invalid_value(&self.param(name), &text, rule))
    }

    /// A whole number in a range.
    pub(crate) fn integer(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
        let param = self.param(name);
        self.take(name)
            .map(|node| integer(&param, node, least, most))
            .transpose()
    }

    /// A number in a range.
    pub(crate) fn number(&mut self, name: &str, least: f64, most: f64) -> Result<Option<f64>, ApiError> {
        let param = self.param(name);
        self.take(name)
            .map(|node| number(&param, node, least, most))
            .transpose()
    }

    /// A list of numbers in a range.
    pub(crate) fn numbers(
        &mut self,
        name: &str,
        most_items: usize,
        least: f64,
        most: f64,
    ) -> Result<Vec<f64>, ApiError> {
        let items = self.list(name, most_items)?.unwrap_or_default().into_iter().enumerate();
        items
            .map(|(index, node)| number(&Path::item(name, index).0, node, least, most))
            .collect()
    }

    pub(crate) fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        let param = self.param(name);
        match self.take(name) {
            None => Ok(None),
            Some(Node::Bool(value)) => Ok(Some(value)),
            Some(Node::Form(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" => Ok(Some(true)),
                "false" | "0" => Ok(Some(false)),
                _ => Err(ApiError::not_among(&param, &text, &["true", "false"])),
            },
            Some(other) => Err(ApiError::wrong_type(&param, "a boolean", other.kind())),
        }
    }

    /// An object, also as JSON text in a form.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Self>, ApiError> {
        let param = self.param(name);
        self.take(name).map(|node| object_of(node, Path(param))).transpose()
    }

    /// A list, also as JSON text in a form; at most so many items.
    pub(crate) fn list(&mut self, name: &str, most: usize) -> Result<Option<Vec<Node>>, ApiError> {
        let param = self.param(name);
        let items = match self.take(name).map(json_inside) {
            None => return Ok(None),
            Some(Node::List(items)) => items,
            Some(Node::Map(members)) => by_index(&param, members)?,
            Some(other) => return Err(ApiError::wrong_type(&param, "an array", other.kind())),
        };
        if items.len() > most {
            let got = items.len();
            let message = format!(
                "array too long. Expected an array with maximum length {most}, but got an array with length {got} instead."
            );
            return Err(ApiError::out_of_range(&param, "array_above_max_length", message));
        }
        Ok(Some(items))
    }

    /// A whole number or a list of them.
    pub(crate) fn integers(&mut self, name: &str, most_items: usize, most: u64) -> Result<Vec<u64>, ApiError> {
        let param = self.param(name);
        match self.take(name).map(list_inside) {
            None => Ok(Vec::new()),
            Some(Node::List(items)) => {
                self.members.push((name.to_owned(), Node::List(items)));
                let items = self.list(name, most_items)?.unwrap_or_default();
                items.into_iter().map(|node| integer(&param, node, 0, most)).collect()
            }
            Some(node) => Ok(vec![integer(&param, node, 0, most)?]),
        }
    }

    /// A file, or what stands in its place.
    pub(crate) fn file_or_object(&mut self, name: &str) -> Result<Option<Result<Upload, Self>>, ApiError> {
        let param = self.param(name);
        match self.take(name).map(json_inside) {
            None => Ok(None),
            Some(Node::File(upload)) => Ok(Some(Ok(upload))),
            Some(node @ Node::Map(_)) => Ok(Some(Err(object_of(node, Path(param))?))),
            Some(Node::Text(_) | Node::Form(_)) => Err(ApiError::expected_file(&param)),
            Some(other) => Err(ApiError::wrong_type(&param, "a file or an object", other.kind())),
        }
    }

    /// A field that is passed on as JSON.
    pub(crate) fn json(&mut self, name: &str) -> Result<Option<Value>, ApiError> {
        let param = self.param(name);
        self.take(name)
            .map(|node| to_json(&param, json_inside(node)))
            .transpose()
    }

    /// What nobody took, by name, and whether it says nothing (`false`, nothing, an empty list).
    pub(crate) fn rest(self) -> Vec<(String, bool)> {
        let says_nothing = |node: &Node| match node {
            Node::Null | Node::Bool(false) => true,
            Node::Text(text) => text.is_empty(),
            Node::Form(text) => matches!(text.as_str(), "" | "false" | "null" | "None"),
            Node::List(items) => items.is_empty(),
            Node::Map(members) => members.is_empty(),
            Node::Bool(true) | Node::Number(_) | Node::File(_) => false,
        };
        let left = self.members.into_iter();
        left.map(|(name, node)| (self.path.of(&name), says_nothing(&node)))
            .collect()
    }
}

pub(crate) fn object_of(node: Node, path: Path) -> Result<Fields, ApiError> {
    match json_inside(node) {
        Node::Map(members) => Ok(Fields { members, path }),
        other => Err(ApiError::wrong_type(&path.0, "an object", other.kind())),
    }
}

fn integer(param: &str, node: Node, least: u64, most: u64) -> Result<u64, ApiError> {
    let (text, value) = match &node {
        Node::Number(number) => (number.to_string(), whole(number)),
        Node::Form(text) => (text.clone(), text.trim().parse::<i128>().ok()),
        other => return Err(ApiError::wrong_type(param, "an integer", other.kind())),
    };
    let Some(value) = value else {
        return Err(ApiError::wrong_type(param, "an integer", node.kind()));
    };
    let bound = |side: &str, op: &str, bound: u64| {
        let got = shortened(&text);
        format!("integer {side} value. Expected a value {op} {bound}, but got {got} instead.")
    };
    if value < i128::from(least) {
        let message = bound("below minimum", ">=", least);
        return Err(ApiError::out_of_range(param, "integer_below_min_value", message));
    }
    match u64::try_from(value) {
        Ok(value) if value <= most => Ok(value),
        _ => {
            let message = bound("above maximum", "<=", most);
            Err(ApiError::out_of_range(param, "integer_above_max_value", message))
        }
    }
}

fn number(param: &str, node: Node, least: f64, most: f64) -> Result<f64, ApiError> {
    let value = match node {
        Node::Number(number) => number.as_f64(),
        Node::Form(text) => text.trim().parse().ok(),
        other => return Err(ApiError::wrong_type(param, "a decimal number", other.kind())),
    };
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return Err(ApiError::wrong_type(param, "a decimal number", "something else"));
    };
    if value < least {
        let message = format!("number below minimum value. Expected a value >= {least}, but got {value} instead.");
        return Err(ApiError::out_of_range(param, "decimal_below_min_value", message));
    }
    if value > most {
        let message = format!("number above maximum value. Expected a value <= {most}, but got {value} instead.");
        return Err(ApiError::out_of_range(param, "decimal_above_max_value", message));
    }
    Ok(value)
}

/// The value of a JSON number that is whole: 4 and 4.0, also where it is larger than any field allows.
fn whole(number: &serde_json::Number) -> Option<i128> {
    let small = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
    small.or_else(|| {
        let value = number.as_f64()?;
        (value.fract() == 0.0).then_some(value as i128)
    })
}

fn at_most(param: &str, text: &str, most: usize) -> Result<(), ApiError> {
    // A text has at least a quarter as many characters as bytes: long ones are not counted to their end.
    let length = if text.len() > most * 4 {
        most + 1
    } else {
        text.chars().count()
    };
    if length <= most {
        return Ok(());
    }
    let message =
        format!("string too long. Expected a string with maximum length {most}, but got a longer one instead.");
    Err(ApiError::out_of_range(param, "string_above_max_length", message))
}

/// What a text of a form is if it is JSON for an object or an array.
fn json_inside(node: Node) -> Node {
    let text = match &node {
        Node::Form(text) | Node::Text(text) => text.trim(),
        _ => return node,
    };
    if !text.starts_with(['{', '[']) {
        return node;
    }
    serde_json::from_str::<Value>(text).map_or(node, Node::from)
}

fn list_inside(node: Node) -> Node {
    match json_inside(node.clone()) {
        list @ Node::List(_) => list,
        _ => node,
    }
}

/// `a[0]`, `a[1]`: an array written as an object.
fn by_index(param: &str, members: Vec<(String, Node)>) -> Result<Vec<Node>, ApiError> {
    let mut items: Vec<(usize, Node)> = Vec::with_capacity(members.len());
    for (name, node) in members {
        let index = name
            .parse()
            .map_err(|_| ApiError::wrong_type(param, "an array", "an object"))?;
        items.push((index, node));
    }
    items.sort_by_key(|(index, _)| *index);
    Ok(items.into_iter().map(|(_, node)| node).collect())
}

fn to_json(param: &str, node: Node) -> Result<Value, ApiError> {
    Ok(match node {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(value),
        Node::Number(number) => Value::Number(number),
        Node::Text(text) | Node::Form(text) => Value::String(text),
        Node::File(_) => return Err(ApiError::wrong_type(param, "an object", "a file")),
        Node::List(items) => {
            let items = items.into_iter().map(|item| to_json(param, item));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Node::Map(members) => {
            let members = members
                .into_iter()
                .map(|(name, node)| Ok((name, to_json(param, node)?)));
            Value::Object(members.collect::<Result<_, ApiError>>()?)
        }
    })
}
