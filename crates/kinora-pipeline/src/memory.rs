//! What the system says about memory, and what a user says about it.

use std::collections::HashMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The most memory that this process has held at one time, in bytes; `None` where the system does not tell.
///
/// **Source**: `VmHWM` of `/proc/self/status` (Linux).
pub fn peak_bytes() -> Option<u64> {
    field_bytes(&read("/proc/self/status")?, "VmHWM:")
}

/// The memory that this process holds now, in bytes; `None` where the system does not tell.
///
/// **Source**: `VmRSS` of `/proc/self/status` (Linux).
pub fn resident_bytes() -> Option<u64> {
    field_bytes(&read("/proc/self/status")?, "VmRSS:")
}

/// Gives what was freed back to the system. Allocators keep freed pieces for later, glibc's up to 32 MB each; weights that a
/// stage has given up must not count in the next one.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the function takes no pointer, may be called at any time from any thread, and touches free memory only.
    let _trimmed = unsafe { libc::malloc_trim(0) };
}

/// The most memory that this process may come to hold, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLimit {
    /// All memory of the process.
    pub bytes: u64,
    /// Who set it.
    pub from: LimitSource,
}

/// Who limits memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitSource {
    /// The caller (`--max-memory`).
    Request,
    /// The control group that the process runs in: a container, a service, a batch queue.
    ControlGroup,
    /// The machine: more would have to be swapped.
    FreeMemory,
}

impl LimitSource {
    /// What a user calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "--max-memory",
            Self::ControlGroup => "the control group's limit",
            Self::FreeMemory => "free memory",
        }
    }
}

/// The limit that counts: what was `asked` for, unless the control group allows less; without a wish, what the control
/// group and the machine have left. `None` if nobody limits memory or the system does not tell.
pub fn limit(asked: Option<u64>) -> Option<MemoryLimit> {
    let held = resident_bytes().unwrap_or(0);
    let free = read("/proc/meminfo").and_then(|text| field_bytes(&text, "MemAvailable:"));
    stricter(asked, control_group_room(&read), free, held)
}

/// `group` and `free` are what is left beside the `held` bytes of this process.
fn stricter(asked: Option<u64>, group: Option<u64>, free: Option<u64>, held: u64) -> Option<MemoryLimit> {
    let limit = |bytes, from| MemoryLimit { bytes, from };
    let group = group.map(|room| limit(room.saturating_add(held), LimitSource::ControlGroup));
    let other = match asked {
        // A wish stands against a busy machine, which can swap, but not against a limit that ends the process.
        Some(bytes) => Some(limit(bytes, LimitSource::Request)),
        None => free.map(|room| limit(room.saturating_add(held), LimitSource::FreeMemory)),
    };
    other.into_iter().chain(group).min_by_key(|limit| limit.bytes)
}

/// What the control group of this process, and those around it, leave; `None` without a limit.
///
/// **Source**: `memory.max` and `memory.current` (version 2), `memory.limit_in_bytes` and `memory.usage_in_bytes`
/// (version 1). Cached file pages count as free, because the system drops them first.
fn control_group_room(read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let rooms = groups.lines().filter_map(|line| {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>().try_into().ok()?;
        let version_1 = controllers.split(',').any(|name| name == "memory");
        match (controllers.is_empty(), version_1) {
            (true, _) => room_along(read, "/sys/fs/cgroup", path, ["memory.max", "memory.current"]),
            (_, true) => room_along(
                read,
                "/sys/fs/cgroup/memory",
                path,
                ["memory.limit_in_bytes", "memory.usage_in_bytes"],
            ),
            _ => None,
        }
    });
    rooms.min()
}

/// The least room of the group at `path` and all groups around it. Inside a container the path may be that of the
/// machine, of which only the top is visible; levels that are not there are passed over.
fn room_along(read: &dyn Fn(&str) -> Option<String>, root: &str, path: &str, [limit, used]: [&str; 2]) -> Option<u64> {
    let mut level = path.trim_end_matches('/');
    let mut least: Option<u64> = None;
    loop {
        let number = |file: &str| read(&format!("{root}{level}/{file}"))?.trim().parse::<u64>().ok();
        // Version 2 says "max" where there is no limit, version 1 a number beyond any machine.
        if let (Some(limit), Some(used)) = (number(limit).filter(|&bytes| bytes < 1 << 60), number(used)) {
            let cached = read(&format!("{root}{level}/memory.stat")).map_or(0, |stat| cached_bytes(&stat));
            let room = limit.saturating_sub(used.saturating_sub(cached));
            least = Some(least.map_or(room, |least| least.min(room)));
        }
        match level.rfind('/') {
            Some(end) => level = &level[..end],
            None => return least,
        }
    }
}

fn cached_bytes(stat: &str) -> u64 {
    let fields: HashMap<&str, u64> = stat
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, value)| Some((name, value.trim().parse().ok()?)))
        .collect();
    // Version 1 counts the groups below under names of their own.
    let of = |name: &str| {
        let total = fields.get(format!("total_{name}").as_str());
        total.or_else(|| fields.get(name)).copied().unwrap_or(0)
    };
    of("inactive_file") + of("active_file")
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn field_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// An amount of memory as people write it: `2GB`, `1500 MB`, `1.5GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize {
    /// The same in bytes.
    pub bytes: u64,
}

impl MemorySize {
    /// The least that may be asked for; no model fits into less.
    pub const MIN: Self = Self { bytes: 128_000_000 };
}

impl FromStr for MemorySize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |reason: &str, hint: String| Error::Invalid {
            what: "memory",
            got: text.chars().take(40).collect(),
            reason: reason.into(),
            hint,
        };
        let trimmed = text.trim();
        let split = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let scale = match unit.trim().to_ascii_lowercase().as_str() {
            "m" | "mb" => 1e6,
            "g" | "gb" => 1e9,
            "t" | "tb" => 1e12,
            "mi" | "mib" => 1048576.0,
            "gi" | "gib" => 1073741824.0,
            "ti" | "tib" => 1099511627776.0,
            _ => 0.0,
        };
        let amount = number
            .parse::<f64>()
            .ok()
            .filter(|amount| amount.is_finite() && scale > 0.0);
        let Some(amount) = amount else {
            return Err(invalid(
                "not an amount of memory",
                "for example 2GB, 1500MB or 1.5GiB".into(),
            ));
        };
        let size = Self {
            bytes: (amount * scale).round() as u64,
        };
        if size < Self::MIN {
            let least = Self::MIN.bytes / 1_000_000;
            return Err(invalid("too little for any model", format!("at least {least}MB")));
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn freed_pieces_go_back_to_the_system() {
        // Pieces below the size from which the allocator maps memory of their own, with one that stays at the end.
        let pieces: Vec<Vec<u8>> = (0..4096).map(|i| vec![i as u8; 64 << 10]).collect();
        let last = vec![1u8; 1 << 10];
        drop(pieces);
        let before = resident_bytes().unwrap();
        give_back();
        let after = resident_bytes().unwrap();
        assert!(after <= before && last[0] == 1, "{after} after {before}");
        assert!(
            after < before || before < 200_000_000,
            "{after} after {before}: nothing was given back"
        );
    }

    #[test]
    fn fields_are_read_in_kilobytes() {
        assert_eq!(
            field_bytes("VmPeak:\t 1 kB\nVmHWM:\t  20 kB\n", "VmHWM:"),
            Some(20 * 1024)
        );
        assert_eq!(field_bytes("VmHWM:\t lots\n", "VmHWM:"), None);
    }

    #[test]
    fn amounts_are_read_in_decimal_and_binary_units() {
        for (text, bytes) in [
            ("2GB", 2_000_000_000),
            ("1500MB", 1_500_000_000),
            (" 1500 mb ", 1_500_000_000),
            ("2GiB", 2 << 30),
            ("0.5gib", 1 << 29),
            ("1.5G", 1_500_000_000),
            ("128MB", 128_000_000),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(text.parse::<MemorySize>().unwrap().bytes, bytes, "{text}");
        }
        for text in [
            "",
            "GB",
            "2",
            "2000000000",
            "-2GB",
            "2 KB",
            "2GBs",
            "1e3MB",
            "NaN GB",
            "1.2.3GB",
        ] {
            let error = text.parse::<MemorySize>().unwrap_err().to_string();
            assert!(error.contains("hint: for example 2GB"), "{text}: {error}");
        }
        let error = "127.9MB".parse::<MemorySize>().unwrap_err().to_string();
        assert!(error.contains("at least 128MB"), "{error}");
    }

    fn files<'a>(files: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |path| {
            files
                .iter()
                .find(|(name, _)| *name == path)
                .map(|(_, text)| (*text).to_owned())
        }
    }

    #[test]
    fn control_groups_of_both_versions_are_asked_up_to_their_root() {
        let version_2 = files(&[
            ("/proc/self/cgroup", "0::/user.slice/job\n"),
            ("/sys/fs/cgroup/user.slice/job/memory.max", "max\n"),
            ("/sys/fs/cgroup/user.slice/job/memory.current", "500\n"),
            ("/sys/fs/cgroup/user.slice/memory.max", "4000\n"),
            ("/sys/fs/cgroup/user.slice/memory.current", "1500\n"),
            (
                "/sys/fs/cgroup/user.slice/memory.stat",
                "anon 700\ninactive_file 300\nactive_file 200\n",
            ),
        ]);
        assert_eq!(control_group_room(&version_2), Some(3000));
        // A container sees its own group at the top, whatever its path is called outside.
        let container = files(&[
            ("/proc/self/cgroup", "0::/\n"),
            ("/sys/fs/cgroup/memory.max", "2000\n"),
            ("/sys/fs/cgroup/memory.current", "500\n"),
        ]);
        assert_eq!(control_group_room(&container), Some(1500));
        let version_1 = files(&[
            (
                "/proc/self/cgroup",
                "3:cpu,cpuacct:/docker/1\n2:memory:/docker/1\n0::/\n",
            ),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "900\n"),
            (
                "/sys/fs/cgroup/memory/memory.stat",
                "inactive_file 1\ntotal_inactive_file 150\n",
            ),
        ]);
        assert_eq!(control_group_room(&version_1), Some(250));
        let unlimited = files(&[
            ("/proc/self/cgroup", "2:memory:/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "900\n"),
        ]);
        assert_eq!(control_group_room(&unlimited), None);
        assert_eq!(control_group_room(&files(&[])), None);
    }

    #[test]
    fn a_wish_beats_a_busy_machine_but_not_a_control_group() {
        let of = |asked, group, free| stricter(asked, group, free, 100).map(|limit| (limit.bytes, limit.from));
        assert_eq!(of(None, None, None), None);
        assert_eq!(of(None, None, Some(50)), Some((150, LimitSource::FreeMemory)));
        assert_eq!(of(None, Some(20), Some(50)), Some((120, LimitSource::ControlGroup)));
        assert_eq!(of(Some(999), None, Some(50)), Some((999, LimitSource::Request)));
        assert_eq!(of(Some(999), Some(20), None), Some((120, LimitSource::ControlGroup)));
        assert_eq!(of(Some(110), Some(20), None), Some((110, LimitSource::Request)));
    }
}
