//! What the system says about memory.

/// The most memory that this process has held at one time, in bytes; `None` where the system does not tell.
///
/// **Source**: `VmHWM` of `/proc/self/status` (Linux).
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    field_bytes(&status, "VmHWM:")
}

/// Memory that can still be taken without swapping, in bytes; `None` where the system does not tell.
///
/// **Source**: `MemAvailable` of `/proc/meminfo` (Linux), and the limit of the control group (v2) if there is one.
pub fn available_bytes() -> Option<u64> {
    let free = field_bytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    Some(control_group_room().map_or(free, |room| room.min(free)))
}

fn control_group_room() -> Option<u64> {
    let number = |file: &str| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    Some(number("/sys/fs/cgroup/memory.max")?.saturating_sub(number("/sys/fs/cgroup/memory.current")?))
}

fn field_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_kilobytes() {
        assert_eq!(
            field_bytes("VmPeak:\t 1 kB\nVmHWM:\t  20 kB\n", "VmHWM:"),
            Some(20 * 1024)
        );
        assert_eq!(field_bytes("VmHWM:\t lots\n", "VmHWM:"), None);
    }
}
