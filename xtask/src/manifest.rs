//! Reading the dependency names out of a `Cargo.toml`.
//!
//! Only what the checks need: the keys of dependency tables, with renames. A whole TOML parser would be another
//! dependency to justify.

/// In which table a dependency is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// `[dependencies]`, `[build-dependencies]` and their forms for one target.
    Normal,
    /// `[dev-dependencies]`.
    Dev,
    /// `[workspace.dependencies]`.
    Workspace,
}

/// One dependency by the name of its package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub name: String,
    pub table: Table,
    pub line: usize,
    /// It lies in this repository.
    pub local: bool,
}

/// The dependencies that a manifest names, in order.
pub(crate) fn dependencies(text: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    let mut table = None;
    // Inside `[dependencies.name]` the lines are the fields of one dependency.
    let mut single = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.split_once(" #").map_or(line, |(code, _)| code).trim();
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            let (kind, name) = header_table(header);
            table = kind;
            single = name.is_some();
            if let (Some(table), Some(name)) = (table, name) {
                found.push(dependency(name, table, index + 1));
            }
            continue;
        }
        let (Some(table), Some((key, value))) = (table, line.split_once('=')) else {
            continue;
        };
        if !single {
            let (name, _) = key.trim().split_once('.').unwrap_or((key.trim(), ""));
            found.push(dependency(name, table, index + 1));
        }
        let fields = if single { line } else { value };
        if let Some(last) = found.last_mut() {
            if let Some(package) = field(fields, "package") {
                last.name = package;
            }
            last.local |= field(fields, "path").is_some();
        }
    }
    found
}

fn dependency(name: &str, table: Table, line: usize) -> Dependency {
    Dependency {
        name: name.trim_matches(['"', '\'', ' ']).to_owned(),
        table,
        line,
        local: false,
    }
}

/// The table that a header opens, and the dependency if the table is about a single one.
fn header_table(header: &str) -> (Option<Table>, Option<&str>) {
    // `target.'cfg(unix)'.dependencies` differs from `dependencies` only by where it applies.
    let header = match header.strip_prefix("target.") {
        Some(rest) => rest.rfind("dependencies").map_or("", |at| {
            let start = rest[..at].rfind('.').map_or(0, |dot| dot + 1);
            &rest[start..]
        }),
        None => header,
    };
    for (prefix, table) in [
        ("dependencies", Table::Normal),
        ("build-dependencies", Table::Normal),
        ("dev-dependencies", Table::Dev),
        ("workspace.dependencies", Table::Workspace),
    ] {
        if let Some(rest) = header.strip_prefix(prefix) {
            match rest.strip_prefix('.') {
                Some(name) => return (Some(table), Some(name)),
                None if rest.is_empty() => return (Some(table), None),
                None => {}
            }
        }
    }
    (None, None)
}

/// The string value of `key` in an inline table or a line.
fn field(text: &str, key: &str) -> Option<String> {
    let mut rest = text;
    while let Some(at) = rest.find(key) {
        let before = rest[..at].chars().next_back();
        rest = &rest[at + key.len()..];
        let starts = before.is_none_or(|c| c == '{' || c == ',' || c.is_whitespace());
        if let (true, Some(value)) = (starts, rest.trim_start().strip_prefix('=')) {
            return value
                .trim_start()
                .strip_prefix('"')?
                .split('"')
                .next()
                .map(str::to_owned);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_form_of_a_dependency() {
        let text = r#"
[package]
name = "a"
[dependencies]
one.workspace = true            # why
two = "1"
three = { version = "1", features = ["path"] }
renamed = { package = "four", version = "1" }
local = { path = "../local" }
[dev-dependencies]
five = "1"
[target.'cfg(windows)'.dependencies]
six = "1"
[dependencies.seven]
version = "1"
package = "eight"
[build-dependencies]
nine = "1"
[workspace.dependencies]
ten = { path = "crates/ten" }
[features]
default = ["one"]
"#;
        let found = dependencies(text);
        let names: Vec<&str> = found.iter().map(|d| d.name.as_str()).collect();
        let expected = [
            "one", "two", "three", "four", "local", "five", "six", "eight", "nine", "ten",
        ];
        assert_eq!(names, expected);
        let local: Vec<&str> = found.iter().filter(|d| d.local).map(|d| d.name.as_str()).collect();
        assert_eq!(local, ["local", "ten"]);
        assert_eq!(found[5].table, Table::Dev);
        assert_eq!(found[9].table, Table::Workspace);
        assert_eq!(found[0].line, 5);
        assert!(found.iter().filter(|d| d.table == Table::Normal).count() == 8);
    }
}
