//! What the machine and the process have of memory and disk, read in one place.

use std::path::{Path, PathBuf};

/// Memory in bytes that this process may still take: what the system has to spare, and no more than the control
/// groups of the process leave it. `None` where the system does not tell.
pub fn available() -> Option<u64> {
    let spare = field("/proc/meminfo", "MemAvailable:");
    spare.into_iter().chain(group_room()).min()
}

/// The machine's memory in bytes.
pub fn total() -> Option<u64> {
    field("/proc/meminfo", "MemTotal:")
}

/// Memory that this process holds, in bytes; pages of mapped files count while they are in memory.
pub fn resident() -> Option<u64> {
    field("/proc/self/status", "VmRSS:")
}

/// Most memory that this process has held, in bytes.
pub fn peak() -> Option<u64> {
    field("/proc/self/status", "VmHWM:")
}

/// Bytes that may be written to the file system of `folder`, where the system tells.
#[cfg(unix)]
pub fn free_disk(folder: &Path) -> Option<u64> {
    let room = rustix::fs::statvfs(folder).ok()?;
    room.f_bavail.checked_mul(room.f_frsize)
}

/// Bytes that may be written to the file system of `folder`, where the system tells.
#[cfg(not(unix))]
pub fn free_disk(_folder: &Path) -> Option<u64> {
    None
}

/// A field of a file of the kernel's in bytes, given there in kB.
pub fn field(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The least room in the control groups of this process and in those above them.
fn group_room() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(group_folders).flatten().filter_map(|folder| room(&folder)).min()
}

/// The folders of a line of `/proc/self/cgroup` and of the groups above, where it is about memory.
fn group_folders(line: &str) -> Option<Vec<PathBuf>> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let root = match controllers {
        "" => Path::new("/sys/fs/cgroup").to_owned(),
        listed if listed.split(',').any(|c| c == "memory") => Path::new("/sys/fs/cgroup/memory").to_owned(),
        _ => return None,
    };
    let inside = Path::new(path.trim_start_matches('/'));
    Some(inside.ancestors().map(|part| root.join(part)).collect())
}

/// What the limit of a group leaves; pages of files that nobody uses give way, and count as free.
fn room(folder: &Path) -> Option<u64> {
    let number = |names: [&str; 2]| {
        let read = |name| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
        names.into_iter().find_map(read)
    };
    let limit = number(["memory.max", "memory.limit_in_bytes"])?;
    let used = number(["memory.current", "memory.usage_in_bytes"])?;
    let stat = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let idle = ["total_inactive_file ", "inactive_file "];
    let idle = idle.iter().find_map(|name| stat.lines().find_map(|l| l.strip_prefix(name)));
    let idle = idle.and_then(|number| number.trim().parse().ok()).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(idle)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_up_to_the_root_and_others_are_passed_over() {
        let folders = group_folders("4:memory:/a/b").unwrap_or_default();
        let expected = ["a/b", "a", ""].map(|part| Path::new("/sys/fs/cgroup/memory").join(part));
        assert_eq!(folders, expected);
        assert_eq!(group_folders("0::/").unwrap_or_default(), [Path::new("/sys/fs/cgroup").join("")]);
        assert_eq!(group_folders("5:devices:/a"), None);
        assert_eq!(group_folders("nonsense"), None);
    }

    #[test]
    fn a_limited_group_leaves_what_is_not_in_use() {
        let folder = tempfile::tempdir().map(|f| f.keep()).unwrap_or_default();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).is_ok();
        assert!(write("memory.max", "1000\n") && write("memory.current", "700\n"));
        assert_eq!(room(&folder), Some(300));
        assert!(write("memory.stat", "anon 5\ninactive_file 200\n"));
        assert_eq!(room(&folder), Some(500));
        assert!(write("memory.max", "max\n"));
        assert_eq!(room(&folder), None);
        assert!(std::fs::remove_dir_all(&folder).is_ok());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_is_asked() {
        assert!(available().is_some_and(|bytes| bytes > 0 && Some(bytes) <= total()));
        assert!(resident() <= peak() && resident() > Some(1 << 20));
        assert!(free_disk(Path::new("/")).is_some());
    }
}
