//! What is mounted, as the kernel tells it, and the kinds of file systems.

pub(super) const MOUNTS: &str = "/proc/1/mountinfo";

/// File systems on which etcd or a runtime's snapshots do not do well, by the magic number of statfs(2), with their
/// names.
pub(super) const NETWORK_OR_MEMORY: [(u64, &str); 8] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlay"),
];

/// A mount, as /proc/1/mountinfo has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: String,
    /// File system type.
    pub kind: String,
    /// Options of the mount itself: `rw`, `noexec`, ….
    pub options: Vec<String>,
    /// Is it in a peer group, so that what is mounted beneath it is seen elsewhere?
    pub shared: bool,
    /// The line, counted from 1.
    pub line: u32,
}

/// proc_pid_mountinfo(5): id, parent, device, root, mount point, options, optional fields, `-`, type, source, super
/// options.
pub(super) fn parse(text: &str) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut fields = line.split(' ');
        let (Some(point), Some(options)) = (fields.nth(4), fields.next()) else {
            return Err(format!("{MOUNTS} line {} has no mount point and options", number + 1));
        };
        let mut shared = false;
        for field in fields.by_ref().take_while(|&field| field != "-") {
            shared |= field.starts_with("shared:");
        }
        let kind = fields.next().ok_or_else(|| format!("{MOUNTS} line {} has no file system type", number + 1))?;
        mounts.push(Mount {
            point: unescape(point),
            kind: kind.to_owned(),
            options: options.split(',').map(str::to_owned).collect(),
            shared,
            line: u32::try_from(number + 1).unwrap_or(u32::MAX),
        });
    }
    if mounts.is_empty() { Err(format!("{MOUNTS} is empty")) } else { Ok(mounts) }
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> String {
    ["\\040 ", "\\011\t", "\\012\n", "\\134\\"]
        .iter()
        .fold(field.to_owned(), |text, pair| text.replace(&pair[..4], &pair[4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_peer_groups() {
        let text = "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
                    30 24 0:5 / /mnt/a\\040b ro master:2 - tmpfs x ro\n";
        let mounts = parse(text).unwrap();
        assert!(mounts[0].shared && !mounts[1].shared);
        assert_eq!((mounts[1].point.as_str(), mounts[1].kind.as_str(), mounts[1].line), ("/mnt/a b", "tmpfs", 2));
        assert!(parse("").is_err() && parse("garbage").is_err() && parse("1 2 3 4 5 6 7").is_err());
    }
}
