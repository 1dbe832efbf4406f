//! The near miss that an error message suggests.

/// The candidate with the smallest edit distance to `wanted`, if it is close enough to be meant.
pub(crate) fn closest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let limit = (wanted.len() / 4).max(2);
    candidates
        .filter(|c| c.len().abs_diff(wanted.len()) <= limit)
        .map(|c| (distance(wanted.as_bytes(), c.as_bytes()), c))
        .filter(|&(d, _)| d <= limit)
        .min()
        .map(|(_, c)| c.to_owned())
}

/// Levenshtein distance over bytes, one row at a time; letter case is ignored.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = [
            "blocks.0.attn1.to_q.weight",
            "blocks.0.attn1.to_k.weight",
            "toybox",
            "wan-2.1",
        ];
        for (wanted, expected) in [
            ("blocks.0.attn1.to_qq.weight", Some("blocks.0.attn1.to_q.weight")),
            ("Toybx", Some("toybox")),
            ("wan2.1", Some("wan-2.1")),
            ("stable", None),
            ("", None),
        ] {
            assert_eq!(closest(wanted, names.into_iter()).as_deref(), expected, "{wanted}");
        }
    }
}
