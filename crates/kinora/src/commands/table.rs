//! Aligned text: columns, and names with values.

/// Rows as lines with aligned columns; the first row is the heading.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    aligned(rows, |_, cell, width| format!("{cell:<width$}"))
}

/// As [`columns`], with all columns but the first aligned at their end, as numbers are.
pub fn numbers<const N: usize>(rows: &[[String; N]]) -> String {
    aligned(rows, |column, cell, width| match column {
        0 => format!("{cell:<width$}"),
        _ => format!("{cell:>width$}"),
    })
}

fn aligned<const N: usize>(rows: &[[String; N]], pad: impl Fn(usize, &str, usize) -> String) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| pad(column, cell, width));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Names and values, one pair a line; pairs without a value are left out.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let shown = || pairs.iter().filter(|(_, value)| !value.is_empty());
    let width = shown().map(|(name, _)| name.len()).max().unwrap_or(0);
    shown()
        .map(|(name, value)| format!("{name:<width$}  {}\n", printable(value)))
        .collect()
}

/// Text from a file, fit for a terminal: control characters become marks.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_pairs_are_aligned() {
        let rows = [
            ["name".to_owned(), "x".to_owned()],
            ["é".to_owned(), "longer".to_owned()],
        ];
        assert_eq!(columns(&rows), "name  x\né     longer\n");
        let both = [
            ("prompt", "a\u{1b}[2Jb".to_owned()),
            ("no", String::new()),
            ("to", "c".to_owned()),
        ];
        assert_eq!(pairs(&both), "prompt  a\u{fffd}[2Jb\nto      c\n");
    }
}
