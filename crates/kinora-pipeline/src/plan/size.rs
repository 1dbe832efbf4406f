//! The size that a model makes for the one that is asked for.

use crate::description::Description;
use crate::report::SizeRecord;
use crate::request::Size;

/// The native size whose shape is nearest, or for models that make any size, the next larger one that they can; the
/// rest is scaled and cropped.
pub(super) fn plan_size(wanted: Option<Size>, model: &Description) -> SizeRecord {
    let preferred = model.sizes[0];
    let written = wanted.unwrap_or(preferred);
    let distance = |size: &Size| (size.aspect() / written.aspect()).ln().abs();
    let nearest = model
        .sizes
        .iter()
        .copied()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    let generated = match model.size_multiple {
        Some(multiple) => Size {
            width_px: written.width_px.next_multiple_of(multiple),
            height_px: written.height_px.next_multiple_of(multiple),
        },
        None => nearest.unwrap_or(preferred),
    };
    let how = if generated == written {
        "native size".to_owned()
    } else {
        let scale = (f64::from(written.width_px) / f64::from(generated.width_px))
            .max(f64::from(written.height_px) / f64::from(generated.height_px));
        let covered = (
            f64::from(generated.width_px) * scale,
            f64::from(generated.height_px) * scale,
        );
        let lost = 1.0 - f64::from(written.width_px) * f64::from(written.height_px) / (covered.0 * covered.1);
        match lost > 0.001 {
            true => format!(
                "made at {generated}, scaled by {scale:.3}, {:.0} % cropped at the edges",
                lost * 100.0
            ),
            false => format!("made at {generated}, scaled by {scale:.3}"),
        }
    };
    SizeRecord {
        generated,
        written,
        how,
    }
}
