//! What could be asked for instead, where a request does not fit.

use crate::description::Description;
use crate::plan::{Plan, Segment, Task};
use crate::request::Size;

/// Requests for less, the largest first, as the flags that ask for them.
pub(super) fn plans(plan: &Plan, model: &Description) -> Vec<(String, Plan)> {
    let most = plan.segments.iter().map(|s| s.latent_frames).max().unwrap_or(1);
    let prefix = plan.segments.iter().map(|s| s.prefix_latent_frames).max().unwrap_or(0);
    let area = |size: Size| u64::from(size.width_px) * u64::from(size.height_px);
    let mut sizes: Vec<Size> = model.sizes.clone();
    sizes.retain(|&size| area(size) < area(plan.size.written) && area(size) <= area(plan.size.generated));
    sizes.sort_by_key(|&size| std::cmp::Reverse(area(size)));
    let (has_own_size, has_own_length) = match plan.task {
        Task::Remix => (true, true),
        Task::Blend | Task::Loop | Task::Storyboard => (false, true),
        _ => (false, false),
    };
    if has_own_size {
        sizes.clear();
    }
    let at = |size: Size, plan: &Plan| {
        let mut smaller = plan.clone();
        (smaller.size.generated, smaller.size.written) = (size, size);
        (format!("--size {size}"), smaller)
    };
    let shorter = |latent_frames: usize| {
        let mut shorter = plan.clone();
        shorter.segments = vec![Segment {
            latent_frames,
            prefix_latent_frames: prefix,
            ..Segment::default()
        }];
        (format!("--frames {}", model.frames_of(latent_frames)), shorter)
    };
    let lengths = (prefix + 1..most).rev().filter(|&n| n > 1 && !has_own_length);
    let lengths: Vec<_> = lengths.map(shorter).collect();
    let both = sizes.iter().flat_map(|&size| {
        lengths.iter().map(move |(frames, plan)| {
            let (size, plan) = at(size, plan);
            (format!("{size} {frames}"), plan)
        })
    });
    let smaller: Vec<_> = sizes.iter().map(|&size| at(size, plan)).collect();
    smaller.into_iter().chain(lengths.iter().cloned()).chain(both).collect()
}
