//! Lanes: a lane is the set of kinds that some workers can do, and the subject on which such work is offered to them.
//!
//! One lane for a set, not one subject for a kind: a worker pulls from one place, whatever it can do, and a worker that can do
//! everything needs no list of kinds. A job may be offered on several lanes; whoever claims first gets it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// More sets of kinds than this are a mistake of somebody.
const MOST_LANES: usize = 256;
/// A lane whose workers have not said hello for so long is closed.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// After a claim that found nothing, so long nothing is offered, unless somebody says that something has changed.
const QUIET: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Lane {
    kinds: Vec<String>,
    seen: Instant,
    quiet_until: Option<Instant>,
}

/// The lanes that workers of this server use.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    open: Mutex<HashMap<String, Lane>>,
    changed: Notify,
}

/// The same set in one spelling.
pub(crate) fn sorted(kinds: &[String]) -> Vec<String> {
    let mut kinds = kinds.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// The name of the lane of a [sorted] set: readable if its kinds can stand in a subject, otherwise a number.
pub(crate) fn name_of(kinds: &[String]) -> String {
    if kinds.is_empty() {
        return "all".into();
    }
    let plain = |kind: &String| kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let name = format!("of+{}", kinds.join("+"));
    if kinds.iter().all(plain) && !kinds.iter().any(String::is_empty) && name.len() <= 100 {
        return name;
    }
    // FNV-1a, with a byte between kinds that is not in UTF-8. Two sets with one number would share their offers: harmless.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for kind in kinds {
        for byte in kind.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    format!("hash-{hash:016x}")
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Lane>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Workers of this set are there. False: there are too many lanes.
    pub(crate) fn open(&self, name: &str, kinds: &[String]) -> bool {
        let mut open = self.lock();
        if open.len() >= MOST_LANES && !open.contains_key(name) {
            return false;
        }
        let lane = Lane {
            kinds: kinds.to_vec(),
            seen: Instant::now(),
            quiet_until: None,
        };
        open.insert(name.to_owned(), lane);
        drop(open);
        self.changed.notify_one();
        true
    }

    /// Those on which to offer now.
    pub(crate) fn awake(&self) -> Vec<(String, Vec<String>)> {
        let now = Instant::now();
        let awake = |lane: &Lane| lane.quiet_until.is_none_or(|until| until <= now);
        let open = self.lock();
        open.iter()
            .filter(|(_, lane)| awake(lane))
            .map(|(name, lane)| (name.clone(), lane.kinds.clone()))
            .collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<(String, Vec<String>)> {
        self.lock()
            .iter()
            .map(|(name, lane)| (name.clone(), lane.kinds.clone()))
            .collect()
    }

    /// Closes those whose workers are gone, and says which.
    pub(crate) fn close_forgotten(&self) -> Vec<String> {
        let mut open = self.lock();
        let gone: Vec<_> = open
            .iter()
            .filter(|(_, lane)| lane.seen.elapsed() > FORGOTTEN)
            .map(|(name, _)| name.clone())
            .collect();
        open.retain(|name, _| !gone.contains(name));
        gone
    }

    /// A claim on this lane found nothing: what waits may not run yet.
    pub(crate) fn found_nothing(&self, name: &str) {
        if let Some(lane) = self.lock().get_mut(name) {
            lane.quiet_until = Some(Instant::now() + QUIET);
        }
    }

    /// Something has changed: a job came, or one has ended and makes room for another.
    pub(crate) fn something_changed(&self) {
        for lane in self.lock().values_mut() {
            lane.quiet_until = None;
        }
        self.changed.notify_one();
    }

    /// An offer was used: there is room for another.
    pub(crate) fn one_was_taken(&self) {
        self.changed.notify_one();
    }

    /// Returns when something has changed.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(kinds: &[&str]) -> Vec<String> {
        sorted(&kinds.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_set_has_one_name_and_names_can_stand_in_subjects() {
        assert_eq!(name_of(&set(&[])), "all");
        assert_eq!(name_of(&set(&["video", "edit", "video"])), "of+edit+video");
        assert_eq!(name_of(&set(&["edit", "video"])), "of+edit+video");
        let strange = [
            set(&["a.b"]),
            set(&["*"]),
            set(&["a+b"]),
            set(&["a", "b c"]),
            set(&["x".repeat(500).as_str()]),
            set(&[""]),
        ];
        let mut names: Vec<_> = strange.iter().map(|kinds| name_of(kinds)).collect();
        assert!(
            names.iter().all(|name| name.starts_with("hash-") && name.len() == 21),
            "{names:?}"
        );
        names.sort();
        names.dedup();
        assert_eq!(names.len(), strange.len());
        assert_ne!(name_of(&set(&["a b", "c"])), name_of(&set(&["a ", "bc"])));
    }

    #[test]
    fn a_lane_is_quiet_after_an_empty_claim_until_something_changes() {
        let lanes = Lanes::default();
        assert!(lanes.open("all", &[]));
        assert_eq!(lanes.awake().len(), 1);
        lanes.found_nothing("all");
        assert_eq!((lanes.awake().len(), lanes.all().len()), (0, 1));
        lanes.something_changed();
        assert_eq!(lanes.awake().len(), 1);
        assert_eq!(lanes.close_forgotten(), Vec::<String>::new());
    }

    #[test]
    fn lanes_are_limited() {
        let lanes = Lanes::default();
        for index in 0..MOST_LANES {
            assert!(lanes.open(&format!("of+{index}"), &[index.to_string()]));
        }
        assert!(!lanes.open("of+more", &["more".into()]));
        assert!(
            lanes.open("of+1", &["1".into()]),
            "one that is there may be opened again"
        );
    }
}
