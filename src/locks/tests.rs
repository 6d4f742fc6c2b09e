//! The lock protocol between two parties, in one process.
#![allow(
    clippy::disallowed_methods,
    reason = "the tests unlink lockfiles, which the library never does"
)]

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

pub(super) fn cache() -> (tempfile::TempDir, Root, Key) {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    (dir, root, "0123456789abcdef".parse().unwrap())
}

fn is_locked(tried: &LockForRemoval) -> bool {
    matches!(tried, LockForRemoval::Locked(_))
}

#[test]
fn readers_share_a_pin() {
    let (_dir, root, key) = cache();
    let _first = pin(&root, key, Duration::ZERO).unwrap().unwrap();
    assert!(pin(&root, key, Duration::ZERO).unwrap().is_ok());
}

#[test]
fn a_reader_keeps_removers_out_and_its_end_lets_them_in() {
    let (_dir, root, key) = cache();
    let reader = pin(&root, key, Duration::ZERO).unwrap().unwrap();
    assert!(matches!(lock_for_removal(&root, key).unwrap(), LockForRemoval::Pinned));
    assert!(probe(&root, key).unwrap());
    drop(reader);
    assert!(!probe(&root, key).unwrap());
    assert!(is_locked(&lock_for_removal(&root, key).unwrap()));
}

#[test]
fn a_remover_keeps_readers_and_removers_out() {
    let (_dir, root, key) = cache();
    let removing = lock_for_removal(&root, key).unwrap();
    assert!(is_locked(&removing));
    assert_eq!(pin(&root, key, Duration::from_millis(5)).unwrap().unwrap_err(), Busy::Locked);
    assert!(matches!(lock_for_removal(&root, key).unwrap(), LockForRemoval::Pinned));
    drop(removing);
    assert!(pin(&root, key, Duration::ZERO).unwrap().is_ok());
}

#[test]
fn there_is_one_writer_and_it_does_not_pin() {
    let (_dir, root, key) = cache();
    let _writer = writer(&root, key).unwrap().unwrap();
    assert_eq!(writer(&root, key).unwrap().unwrap_err(), Busy::Locked);
    assert!(is_locked(&lock_for_removal(&root, key).unwrap()));
}

#[test]
fn there_is_one_maintainer() {
    let (_dir, root, _) = cache();
    let _held = maintenance(&root, Duration::ZERO).unwrap().unwrap();
    assert!(maintenance(&root, Duration::from_millis(5)).unwrap().is_none());
}

#[test]
fn probing_creates_nothing() {
    let (dir, root, key) = cache();
    assert!(!probe(&root, key).unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// A daemon serves uncached where the disk is full; that a cache is gone is nothing to pass over in silence.
#[test]
fn only_a_disk_that_cannot_be_written_to_makes_a_daemon_wait_for_better_times() {
    use Errno as E;
    for errno in [E::NOSPC, E::DQUOT, E::ROFS, E::ACCESS, E::PERM] {
        assert!(is_unwritable(errno), "{errno}");
    }
    for errno in [E::NOENT, E::IO, E::MFILE, E::LOOP, E::STALE] {
        assert!(!is_unwritable(errno), "{errno}");
    }
    let (dir, root, key) = cache();
    dir.close().unwrap();
    let gone = pin(&root, key, Duration::ZERO).unwrap_err();
    assert!(gone.to_string().contains(&layout::pin(key)), "{gone}");
}

#[test]
fn a_lock_on_an_unlinked_file_is_not_taken_for_the_lock() {
    let (dir, root, key) = cache();
    let name = layout::pin(key);
    let path = dir.path().join(&name);
    let _reader = pin(&root, key, Duration::ZERO).unwrap().unwrap();
    fs::remove_file(&path).unwrap();
    let Ok(LockForRemoval::Locked(_held)) = lock_for_removal(&root, key) else {
        panic!("not locked")
    };
    assert!(path.exists(), "the new lock has a name that others can find");
}

#[test]
fn a_new_lockfile_has_the_root_directorys_mode() {
    let (dir, _, key) = cache();
    for (directory, file) in [(0o2770, 0o660), (0o755, 0o644), (0o700, 0o600), (0o777, 0o666)] {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(directory)).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let path = dir.path().join(layout::pin(key));
        let _ = pin(&root, key, Duration::ZERO).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, file, "{directory:o}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn only_a_regular_file_locks_and_none_is_changed() {
    let (dir, root, key) = cache();
    let path = dir.path().join(layout::pin(key));
    let outside = dir.path().join("outside");
    fs::write(&outside, "x").unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o400)).unwrap();
    symlink(&outside, &path).unwrap();
    assert!(lock_for_removal(&root, key).is_err());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(lock_for_removal(&root, key).is_err());
    fs::remove_dir(&path).unwrap();
    fs::hard_link(&outside, &path).unwrap();
    let _ = lock_for_removal(&root, key).unwrap();
    assert_eq!(outside.metadata().unwrap().mode() & 0o7777, 0o400);
}
