//! How long a video becomes, and how large, where the request leaves it to the source.

use kinora_api::{ApiError, Lengths, ModelRules, Options, Seconds, Size, Sizes};

use crate::answer::Answer;

/// The longest video that an extension may make, as OpenAI had it.
const LONGEST: Seconds = Seconds::whole(120);

/// The length of `num_frames`, if the request has them and the rate is known: its own, or that of the source.
pub(super) fn seconds_of_frames(options: &Options, source_fps: Option<f64>) -> Option<Seconds> {
    let fps = options.fps.or(source_fps)?;
    Seconds::of_frames(options.num_frames?, fps)
}

/// The length of a clip and what is added to it.
///
/// **Errors**: 400 if that is too long.
pub(super) fn stitched(source: Seconds, added: Seconds) -> Answer<Seconds> {
    let total = Seconds::from_ms(source.ms().saturating_add(added.ms()));
    if total > LONGEST {
        let rule =
            format!("With the {source} seconds that are there it would be '{total}'; at most '{LONGEST}' is possible.");
        return Err(ApiError::invalid_value("seconds", &added.to_string(), &rule).into());
    }
    Ok(total)
}

/// The length of an uploaded clip that is to be changed.
///
/// **Errors**: 400 if the model makes none so long.
pub(super) fn of_clip(model: &ModelRules, duration_ms: u64) -> Answer<Seconds> {
    let seconds = Seconds::from_ms(u32::try_from(duration_ms).unwrap_or(u32::MAX));
    let most = match &model.lengths {
        Lengths::Range { most, .. } => Some(*most),
        Lengths::Listed(lengths) => lengths.iter().max().copied(),
    };
    match most {
        // Half a second of grace: the last frame of a clip is rarely where its length says.
        Some(most) if u64::from(most.ms()) + 500 < duration_ms => {
            let rule = format!("The clip is {seconds} seconds long; this model changes at most {most}.");
            Err(ApiError::invalid_value("video", &seconds.to_string(), &rule).into())
        }
        _ => Ok(seconds),
    }
}

/// The size of the model that is closest in shape, then in area, to a clip of this size.
pub(super) fn size_for(model: &ModelRules, width: u32, height: u32) -> Size {
    let (wide, high) = (f64::from(width.max(1)), f64::from(height.max(1)));
    match &model.sizes {
        Sizes::Listed(sizes) => {
            let distance = |size: &Size| {
                let (w, h) = (f64::from(size.width.max(1)), f64::from(size.height.max(1)));
                let shape = ((w / h) / (wide / high)).ln().abs();
                let area = ((w * h) / (wide * high)).ln().abs();
                // A shape that differs by less than one in a thousand is the same.
                ((shape * 1000.0).round(), area)
            };
            let nearest = sizes.iter().min_by(|a, b| {
                distance(a)
                    .partial_cmp(&distance(b))
                    .unwrap_or(std::cmp::Ordering::Equal)
            });
            nearest.copied().unwrap_or(model.default_size)
        }
        Sizes::Range {
            least_px,
            most_px,
            multiple_px,
        } => {
            let scale = (f64::from(*most_px) / wide.max(high)).min(1.0);
            let step = (*multiple_px).max(1);
            let side = |side: f64| {
                let steps = ((side * scale) / f64::from(step)).round() as u32;
                let most = (*most_px / step * step).max(step);
                let least = least_px.div_ceil(step) * step;
                (steps * step).clamp(least.min(most), most)
            };
            Size::new(side(wide), side(high))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_shape_of_the_source() {
        let rules = kinora_api::Rules::sora();
        let pro = rules.model(Some("sora-2-pro")).unwrap();
        assert_eq!(size_for(pro, 1920, 1080), Size::new(1920, 1080));
        assert_eq!(size_for(pro, 640, 360), Size::new(1280, 720));
        assert_eq!(size_for(pro, 360, 640), Size::new(720, 1280));
        let mut range = pro.clone();
        range.sizes = Sizes::Range {
            least_px: 32,
            most_px: 128,
            multiple_px: 16,
        };
        for (width, height, size) in [
            (1280, 720, Size::new(128, 80)),
            (64, 64, Size::new(64, 64)),
            (10, 10_000, Size::new(32, 128)),
            (0, 0, Size::new(32, 32)),
        ] {
            let found = size_for(&range, width, height);
            assert_eq!(found, size);
            range.sizes.check(found).unwrap();
        }
    }

    #[test]
    fn lengths_have_an_end() {
        let rules = kinora_api::Rules::sora();
        assert_eq!(
            stitched(Seconds::whole(8), Seconds::whole(4)).unwrap(),
            Seconds::whole(12)
        );
        assert!(stitched(Seconds::whole(118), Seconds::whole(4)).is_err());
        let sora = rules.model(None).unwrap();
        assert_eq!(of_clip(sora, 4200).unwrap(), Seconds::from_ms(4200));
        assert!(of_clip(sora, 20_400).is_ok() && of_clip(sora, 20_600).is_err());
        let mut options = Options::default();
        assert_eq!(seconds_of_frames(&options, Some(24.0)), None);
        options.num_frames = Some(48);
        assert_eq!(seconds_of_frames(&options, None), None);
        assert_eq!(seconds_of_frames(&options, Some(24.0)), Some(Seconds::whole(2)));
        options.fps = Some(12.0);
        assert_eq!(seconds_of_frames(&options, Some(24.0)), Some(Seconds::whole(4)));
    }
}
