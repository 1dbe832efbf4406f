//! Comparing numbers with a reference and saying usefully where they part.

/// How two sequences of the same length differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Differences {
    /// Largest absolute difference; NaN if any pair differs by NaN.
    pub max_abs: f64,
    /// Mean absolute difference.
    pub mean_abs: f64,
    /// Squared error over the squared size of the reference.
    pub nmse: f64,
    /// Index of the first pair that differs by more than the tolerance given, or by NaN.
    pub first_beyond: Option<usize>,
}

impl Differences {
    /// Measures `got` against `want`; both have the same length.
    pub fn between(got: &[f32], want: &[f32], max_abs: f32) -> Self {
        assert_eq!(got.len(), want.len(), "the numbers of values differ");
        let (mut largest, mut sum, mut first) = (0.0_f64, 0.0, None);
        for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
            // The same infinity on both sides is no difference.
            let difference = if g == w { 0.0 } else { f64::from(g - w).abs() };
            if first.is_none() && (difference.is_nan() || difference > f64::from(max_abs)) {
                first = Some(i);
            }
            largest = if largest.is_nan() || difference.is_nan() {
                f64::NAN
            } else {
                largest.max(difference)
            };
            sum += difference;
        }
        Self {
            max_abs: largest,
            mean_abs: sum / got.len().max(1) as f64,
            nmse: nmse(got, want),
            first_beyond: first,
        }
    }
}

/// Fails if any value of `got` is further than `max_abs` from the one in `want`, and names the first.
///
/// **Shapes**: any, flattened; the lengths must be equal. NaN on one side always fails.
#[track_caller]
pub fn assert_close(name: &str, got: &[f32], want: &[f32], max_abs: f32) {
    assert!(
        got.len() == want.len(),
        "{name}: got {} values, the reference has {}",
        got.len(),
        want.len()
    );
    crate::parity::keep(name, got, want, max_abs);
    let found = Differences::between(got, want, max_abs);
    if let Some(i) = found.first_beyond {
        let from = i.saturating_sub(2);
        let to = (i + 4).min(got.len());
        panic!(
            "{name}: differs from the reference, first at {i} of {}: got {}, want {} (allowed {max_abs:e})\n\
             max abs {:.3e}, mean abs {:.3e}, nmse {:.3e}\n\
             got  [{from}..{to}] {:?}\nwant [{from}..{to}] {:?}",
            got.len(),
            got[i],
            want[i],
            found.max_abs,
            found.mean_abs,
            found.nmse,
            &got[from..to],
            &want[from..to],
        );
    }
}

/// Normalised mean squared error: `sum (got-want)^2 / sum want^2`; the plain squared error if `want` is all zero.
pub fn nmse(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len(), "the numbers of values differ");
    let (mut error, mut size) = (0.0_f64, 0.0_f64);
    for (&g, &w) in got.iter().zip(want) {
        error += (f64::from(g) - f64::from(w)).powi(2);
        size += f64::from(w).powi(2);
    }
    if size > 0.0 { error / size } else { error }
}

/// Peak signal-to-noise ratio in dB for values between 0 and `peak` (255 for bytes, 1 for unit floats); infinite if equal.
pub fn psnr(got: &[f32], want: &[f32], peak: f64) -> f64 {
    assert_eq!(got.len(), want.len(), "the numbers of values differ");
    let error: f64 = got
        .iter()
        .zip(want)
        .map(|(&g, &w)| (f64::from(g) - f64::from(w)).powi(2))
        .sum();
    10.0 * (peak * peak * got.len() as f64 / error).log10()
}

/// Cosine of the angle between both as vectors; 1 if both are all zero, 0 if one is.
pub fn cosine(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len(), "the numbers of values differ");
    let (mut along, mut got_size, mut want_size) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (&g, &w) in got.iter().zip(want) {
        along += f64::from(g) * f64::from(w);
        got_size += f64::from(g).powi(2);
        want_size += f64::from(w).powi(2);
    }
    match (got_size > 0.0, want_size > 0.0) {
        (false, false) => 1.0,
        // At most 1, except by the rounding of sums.
        (true, true) => (along / (got_size * want_size).sqrt()).min(1.0),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(f: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(f).expect_err("it should have failed");
        panic.downcast_ref::<String>().cloned().unwrap_or_default()
    }

    #[test]
    fn the_message_names_the_first_divergence() {
        let text = message(|| assert_close("taps.0", &[1.0, 2.0, 3.5], &[1.0, 2.0, 3.0], 0.1));
        assert!(text.contains("taps.0") && text.contains("first at 2 of 3"), "{text}");
        assert!(
            text.contains("got 3.5, want 3") && text.contains("max abs 5.000e-1"),
            "{text}"
        );
    }

    #[test]
    fn nan_and_missing_values_fail() {
        for (got, want) in [
            (vec![f32::NAN], vec![f32::NAN]),
            (vec![0.0, f32::NAN], vec![0.0, 1.0]),
            (vec![1.0], vec![f32::INFINITY]),
            (vec![1.0], vec![1.0, 2.0]),
        ] {
            assert!(!message(move || assert_close("x", &got, &want, 1e9)).is_empty());
        }
    }

    #[test]
    fn equal_values_pass_even_at_tolerance_zero() {
        assert_close("x", &[0.0, -0.0, f32::INFINITY], &[0.0, 0.0, f32::INFINITY], 0.0);
        assert_close("nothing", &[], &[], 0.0);
    }

    #[test]
    fn cosine_matches_hand_made_values() {
        assert_eq!(cosine(&[1.0, 0.0], &[2.0, 0.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 3.0]), 0.0);
        assert_eq!(cosine(&[1.0], &[-1.0]), -1.0);
        assert!((cosine(&[1.0, 1.0], &[1.0, 0.0]) - 0.5_f64.sqrt()).abs() < 1e-15);
        assert_eq!(
            (cosine(&[0.0], &[0.0]), cosine(&[1.0], &[0.0]), cosine(&[], &[])),
            (1.0, 0.0, 1.0)
        );
        assert_eq!(cosine(&[f32::NAN], &[1.0]), 0.0, "as bad as it gets");
    }

    #[test]
    fn nmse_and_psnr_match_hand_made_values() {
        assert_eq!(nmse(&[1.0, 3.0], &[1.0, 2.0]), 0.2);
        assert_eq!(nmse(&[0.5], &[0.0]), 0.25);
        assert!((psnr(&[0.0, 0.1], &[0.0, 0.0], 1.0) - 23.0103).abs() < 1e-3);
        assert_eq!(psnr(&[3.0], &[3.0], 255.0), f64::INFINITY);
    }
}
