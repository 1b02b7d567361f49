//! The memory limit of the control group (version 2) that this process is in: what a container or a systemd unit may use.
//! The memory of sockets inside the kernel counts towards it.

use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// Bytes that this process's group may still take; `None` where no limit is set or none can be read.
///
/// A limit of an enclosing group holds, too, so the tightest counts.
pub fn memory_headroom_bytes() -> Option<u64> {
    let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = parse_membership(&membership)?;
    let headroom = |group: PathBuf| {
        let limit = parse_limit(&std::fs::read_to_string(group.join("memory.max")).ok()?)?;
        let used = parse_limit(&std::fs::read_to_string(group.join("memory.current")).ok()?)?;
        Some(limit.saturating_sub(used))
    };
    // Inside a container the path may be one that only the host can see; its root is then the group itself.
    group.ancestors().map(|part| Path::new(ROOT).join(part)).filter_map(headroom).min()
}

/// The path of the version 2 group in `/proc/PID/cgroup`, relative to the root of the hierarchy.
fn parse_membership(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // `..` stands for groups outside the own namespace, which are out of sight.
    let is_within = !path.split('/').any(|part| part == "..");
    Some(PathBuf::from(if is_within { path } else { "" }))
}

/// A number of bytes; `None` for `max`, which is no limit, and for anything else.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_the_version_2_group() {
        let text = "12:memory:/docker/1\n0::/system.slice/a.service\n";
        assert_eq!(parse_membership(text), Some("system.slice/a.service".into()));
        assert_eq!(parse_membership("0::/\n"), Some("".into()));
        assert_eq!(parse_membership("0::/../../outside\n"), Some("".into()));
        assert_eq!(parse_membership("12:memory:/docker/1\n"), None);
        assert_eq!(parse_membership(""), None);
    }

    #[test]
    fn max_is_no_limit() {
        assert_eq!(parse_limit("max\n"), None);
        assert_eq!(parse_limit("1073741824\n"), Some(1 << 30));
        for text in ["", "-1", "99999999999999999999", "1 2"] {
            assert_eq!(parse_limit(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_group_never_leaves_the_hierarchy(text in "(0::)?[./a-c\n]{0,40}") {
            if let Some(group) = parse_membership(&text) {
                prop_assert!(group.components().all(|part| part != std::path::Component::ParentDir));
            }
        }
    }
}
