//! The header `Range`, as RFC 9110 has it: one range; several, or what is no range, give the whole file.

use std::ops::Range;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// The file.
    Whole,
    /// These bytes of it.
    Part(Range<u64>),
    /// Bytes that it does not have.
    Nothing,
}

/// What this value of `Range` means for a file of `size` bytes.
pub(super) fn asked_of(value: &str, size: u64) -> Asked {
    let Some((unit, range)) = value.split_once('=') else {
        return Asked::Whole;
    };
    let range = range.trim();
    if !unit.trim().eq_ignore_ascii_case("bytes") || range.contains(',') {
        return Asked::Whole;
    }
    let number = |digits: &str| -> Option<u64> {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // Numbers beyond any file mean its end.
        plain.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let parts = range.split_once('-').map(|(from, to)| (from.trim(), to.trim()));
    let (start, end) = match parts.map(|(from, to)| (from, number(from), to, number(to))) {
        Some(("", _, _, Some(last))) => (size.saturating_sub(last), if last == 0 { 0 } else { size }),
        Some((_, Some(start), "", _)) => (start, size),
        Some((_, Some(start), _, Some(end))) if start <= end => (start, end.saturating_add(1).min(size)),
        _ => return Asked::Whole,
    };
    if start < end {
        Asked::Part(start..end)
    } else {
        Asked::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_the_rfc_has_them() {
        let part = |start, end| Asked::Part(start..end);
        let cases = [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-5", part(2, 6)),
            ("bytes=2-", part(2, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-30", part(0, 10)),
            ("bytes=5-500", part(5, 10)),
            ("BYTES = 0-1", part(0, 2)),
            ("bytes=5-99999999999999999999999", part(5, 10)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=10-20", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=5-2", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("", Asked::Whole),
        ];
        for (value, asked) in cases {
            assert_eq!(asked_of(value, 10), asked, "{value}");
        }
        assert_eq!(asked_of("bytes=0-", 0), Asked::Nothing);
        assert_eq!(asked_of("bytes=-5", 0), Asked::Nothing);
    }
}
