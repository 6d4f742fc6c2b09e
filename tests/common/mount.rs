//! A file system mounted for one test.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::need;

pub struct Mount(PathBuf);

impl Mount {
    pub fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        let data = CString::new(options).expect("mount options");
        match mount("hls-cache-test", at, "tmpfs", MountFlags::empty(), data.as_c_str()) {
            Ok(()) => Some(Self(at.to_owned())),
            Err(error) => {
                need::missing(&format!("to mount a tmpfs ({error})"));
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}
