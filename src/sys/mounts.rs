//! Mounts, from the kernel's mountinfo.
//!
//! Device numbers do not tell mounts apart (a bind mount has the device of its source), nor do paths: a
//! directory can be reached, and mounted on, through several bind mounts. So mounts are compared by their
//! *place*: the file system and the path inside it, which all of them share.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Operation};

/// A device number's major and minor part.
pub(crate) type Device = (u32, u32);

/// One line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    id: u64,
    parent: u64,
    /// The file system's number; not always `st_dev`, which btrfs and overlayfs make up.
    pub(crate) device: Device,
    /// The mounted directory, as a path inside its file system.
    shown: PathBuf,
    /// Where it is mounted, as this process sees it.
    point: PathBuf,
    pub(crate) atime: Atime,
}

/// How a mount records read times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Atime {
    /// The first read after a write, and then one in 24 hours: Linux's default.
    Relatime,
    /// Every read.
    Strictatime,
    /// No read: by mount option, or because the mount is read-only.
    Noatime,
    /// The mount does not say what the file systems under it do.
    Unknown,
}

impl Atime {
    /// The stable name, as in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::Relatime => "relatime",
            Self::Strictatime => "strictatime",
            Self::Noatime => "noatime",
            Self::Unknown => "unknown",
        }
    }

    /// From the options of the mount and of its file system, and the file system's type. A stacked or
    /// remote file system shows its own options, not those of the ones under it.
    fn of(options: &[u8], file_system: &[u8], its_options: &[u8]) -> Self {
        let has = |options: &[u8], name: &[u8]| options.split(|&b| b == b',').any(|o| o == name);
        let is_stacked = file_system.starts_with(b"fuse") || file_system.starts_with(b"nfs");
        if has(options, b"ro") || has(its_options, b"ro") || has(options, b"noatime") {
            Self::Noatime
        } else if is_stacked || file_system == b"overlay" {
            Self::Unknown
        } else if has(options, b"relatime") {
            Self::Relatime
        } else {
            Self::Strictatime
        }
    }
}

/// A directory's file system and its path inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    device: Device,
    path: PathBuf,
}

/// All mounts that this process can see.
#[derive(Clone, Debug, Default)]
pub(crate) struct MountTable(Vec<Mount>);

impl MountTable {
    pub(crate) fn read() -> Result<Self, Error> {
        const MOUNTINFO: &str = "/proc/self/mountinfo";
        let table =
            fs::read(MOUNTINFO).map_err(|e| Error::new(Operation::ReadMounts, MOUNTINFO, e))?;
        Ok(Self::parse(&table))
    }

    fn parse(table: &[u8]) -> Self {
        Self(table.split(|&byte| byte == b'\n').filter_map(Mount::parse).collect())
    }

    /// The mount that the open file is on; `None` where the kernel does not say.
    pub(crate) fn of(&self, file: impl AsFd) -> Option<&Mount> {
        let info = format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd());
        self.by_id(mount_id(&fs::read_to_string(info).ok()?)?)
    }

    fn by_id(&self, id: u64) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.id == id)
    }

    /// The names in the directory `root`, which is on the mount `on`, that have something mounted on or
    /// under them, through any mount of the directory.
    pub(crate) fn names_under(&self, root: &Path, on: Option<&Mount>) -> Vec<OsString> {
        let root_place = on.and_then(|mount| mount.place_of(root));
        let first_below = |path: &Path, top: &Path| {
            let below = path.strip_prefix(top).ok()?.components().next()?;
            Some(below.as_os_str().to_owned())
        };
        let name = |mount: &Mount| {
            // Compare paths, too: in a chroot the mounts above it are not in the table, so they have no
            // place.
            first_below(&mount.point, root).or_else(|| {
                let root_place = root_place.as_ref()?;
                let place = self.by_id(mount.parent)?.place_of(&mount.point)?;
                let same = place.device == root_place.device;
                same.then(|| first_below(&place.path, &root_place.path)).flatten()
            })
        };
        self.0.iter().filter_map(name).collect()
    }
}

impl Mount {
    /// `36 35 98:0 /shown /point rw,noatime shared:1 - ext4 /dev/a rw`.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let mut field = || fields.next();
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
        let (id, parent) = (number(field()?)?, number(field()?)?);
        let (major, minor) = std::str::from_utf8(field()?).ok()?.split_once(':')?;
        let device = (major.parse().ok()?, minor.parse().ok()?);
        let (shown, point) = (unescape(field()?), unescape(field()?));
        let options = field()?;
        // Optional fields end with a hyphen.
        let mut rest = fields.skip_while(|field| field != b"-").skip(1);
        let file_system = rest.next()?;
        let atime = Atime::of(options, file_system, rest.nth(1).unwrap_or_default());
        Some(Self { id, parent, device, shown, point, atime })
    }

    /// Where in its file system the directory `path` is, which is reached through this mount.
    fn place_of(&self, path: &Path) -> Option<Place> {
        let below = path.strip_prefix(&self.point).ok()?;
        Some(Place { device: self.device, path: self.shown.join(below) })
    }
}

/// The mount of an open file, from its `fdinfo`.
fn mount_id(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// Decodes mountinfo's octal escapes, such as `\040`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = (byte == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::sys::mutated::{mutated, mutated_text};

    fn names(table: &[u8], root: &str, on: u64) -> Vec<OsString> {
        let table = MountTable::parse(table);
        table.names_under(Path::new(root), table.by_id(on))
    }

    #[test]
    fn mounts_on_and_under_a_name_are_found_and_neighbours_are_not() {
        let table = b"35 1 98:0 / / rw - ext4 /dev/a rw\n\
            36 35 98:1 / /srv/my\\040cache/aaaa rw - ext4 /dev/b rw\n\
            37 35 98:1 / /srv/my\\040cache/bbbb/video/deep rw - ext4 /dev/b rw\n\
            38 35 98:1 / /srv/my\\040cache2/cccc rw - ext4 /dev/b rw\n\
            39 35 98:1 / /srv/my\\040cache rw - ext4 /dev/b rw\n\
            garbage\n";
        assert_eq!(names(table, "/srv/my cache", 35), ["aaaa", "bbbb"]);
        assert_eq!(names(table, "/srv/my cache", 0), ["aaaa", "bbbb"], "its mount is unknown");
    }

    #[test]
    fn a_mount_through_another_mount_of_the_directory_is_found() {
        // /disk/hls is the cache; /mnt/cache and /mnt/all show the same directory.
        let table = b"1 0 8:1 / / rw - ext4 /dev/a rw\n\
            2 1 8:2 / /disk rw - ext4 /dev/b rw\n\
            3 1 8:2 /hls /mnt/cache rw - ext4 /dev/b rw\n\
            4 3 0:9 / /mnt/cache/aaaa/video rw - tmpfs t rw\n\
            5 1 8:2 / /mnt/all rw - ext4 /dev/b rw\n\
            6 5 0:9 / /mnt/all/hls/bbbb rw - tmpfs t rw\n\
            7 5 0:9 / /mnt/all/other/cccc rw - tmpfs t rw\n\
            8 1 8:3 /hls /mnt/elsewhere rw - ext4 /dev/c rw\n\
            9 8 0:9 / /mnt/elsewhere/dddd rw - tmpfs t rw\n";
        assert_eq!(names(table, "/disk/hls", 2), ["aaaa", "bbbb"]);
        assert_eq!(names(table, "/mnt/cache", 3), ["aaaa", "bbbb"]);
    }

    #[test]
    fn a_stray_backslash_stays() {
        assert_eq!(unescape(b"a\\134b\\9\\04"), Path::new("a\\b\\9\\04"));
    }

    /// As the kernel writes a path into mountinfo.
    fn escape(path: &[u8]) -> Vec<u8> {
        let escaped = path.iter().map(|byte| match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{byte:03o}").into_bytes(),
            _ => vec![*byte],
        });
        escaped.flatten().collect()
    }

    const TABLE: &[u8] = b"35 1 98:0 / / rw,noatime shared:1 master:2 - ext4 /dev/a rw\n\
        36 35 0:44 /a\\040b /srv/cache rw,relatime - overlay none rw,lowerdir=/x\n\
        37 36 98:1 / /srv/cache/aaaa\\134 ro - fuse.mergerfs m rw\n";

    proptest! {
        #[test]
        fn a_mount_on_any_name_is_found(
            name in vec(any::<u8>().prop_filter("a name", |byte| ![0, b'/'].contains(byte)), 1..20)
                .prop_filter("a name", |name| ![&b"."[..], b".."].contains(&&**name)),
        ) {
            let point = [b"/srv/cache/", &*name, b"/video"].concat();
            let line = [b"36 35 98:1 / ", &*escape(&point), b" rw - ext4 /dev/b rw\n"].concat();
            prop_assert_eq!(names(&line, "/srv/cache", 35), [OsString::from_vec(name)]);
        }

        #[test]
        fn no_table_makes_the_reader_panic(table in prop_oneof![mutated(TABLE), any::<Vec<u8>>()]) {
            let table = MountTable::parse(&table);
            for mount in &table.0 {
                table.names_under(Path::new("/srv/cache"), Some(mount));
            }
            table.names_under(Path::new("/srv/cache"), None);
        }

        #[test]
        fn a_broken_line_hides_no_other(line in mutated(&b"36 35 0:44 / /srv/other rw - ext4 x rw"[..])) {
            let table = [&line, &b"\n"[..], TABLE].concat();
            let found = names(&table, "/srv/cache", 0);
            prop_assert!(found.contains(&"aaaa\\".into()), "{found:?}");
        }

        #[test]
        fn no_fdinfo_makes_the_reader_panic(
            id: u64, changed in mutated_text("pos:\t0\nflags:\t02100000\nmnt_id:\t29\nino:\t2\n"),
        ) {
            mount_id(&changed);
            prop_assert_eq!(mount_id(&format!("pos:\t0\nmnt_id:\t{id}\nino:\t2\n")), Some(id));
        }
    }
}
