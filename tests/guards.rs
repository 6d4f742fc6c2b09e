//! What the guards promise a daemon.
#![allow(missing_docs)]

use std::error::Error;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use hls_cache::daemon::{Busy, Cache, Lookup, Pin, SealError, Start, Writer};
use hls_cache::maintain::{Notice, Outcome};
use hls_cache::plan::Sweep;
use hls_cache::verify::{Checks, Health};
use hls_cache::{Key, Operation, Reason};
use rustix::fs::{CWD, FileType, Mode};

struct Daemon {
    dir: tempfile::TempDir,
    cache: Cache,
    key: Key,
}

impl Daemon {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        Self { dir, cache, key: "0123456789abcdef".parse().unwrap() }
    }

    fn writer(&self) -> Writer {
        match self.cache.start(self.key).unwrap() {
            Start::Writer(writer) => writer,
            other => panic!("{other:?}"),
        }
    }

    fn encode(&self) -> Writer {
        let writer = self.writer();
        fs::write(writer.path().join("video/init.mp4"), "init").unwrap();
        fs::write(writer.path().join("video/seg-0.m4s"), "segment").unwrap();
        writer
    }

    fn hit(&self) -> Pin {
        match self.cache.lookup(self.key).unwrap() {
            Lookup::Hit(pin) => pin,
            other => panic!("{other:?}"),
        }
    }

    fn evict_everything(&self) -> Outcome {
        let mut everything = Sweep::default();
        everything.max_size = Some(0);
        everything.min_age = Duration::ZERO;
        everything.best_effort = true;
        self.cache.sweep(everything, now()).unwrap()
    }

    fn exists(&self) -> bool {
        self.cache.dir_for(self.key).exists()
    }
}

#[allow(clippy::disallowed_methods, reason = "a daemon has a clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[test]
fn an_encode_is_a_miss_until_it_is_sealed_and_then_a_hit() {
    let daemon = Daemon::new();
    assert!(matches!(daemon.cache.lookup(daemon.key).unwrap(), Lookup::Miss));
    let writer = daemon.encode();
    assert!(matches!(daemon.cache.lookup(daemon.key).unwrap(), Lookup::Miss));
    let sealed = writer.seal().unwrap();
    assert!(daemon.cache.has_complete(daemon.key).unwrap());
    assert_eq!(daemon.cache.verify(daemon.key, Checks::default()).unwrap(), Health::Healthy);
    assert_eq!(sealed.path(), daemon.hit().path());
}

#[test]
fn a_hit_moves_the_lru_clock() {
    let daemon = Daemon::new();
    drop(daemon.encode().seal().unwrap());
    let path = daemon.cache.dir_for(daemon.key);
    filetime::set_file_mtime(&path, filetime::FileTime::from_unix_time(1000, 0)).unwrap();
    let _pin = daemon.hit();
    let age =
        now().duration_since(path.metadata().unwrap().modified().unwrap()).unwrap_or_default();
    assert!(age < Duration::from_secs(3600), "{age:?}");
}

#[test]
fn a_reader_and_a_writer_keep_their_entry_and_let_go_of_it() {
    let daemon = Daemon::new();
    let writer = daemon.encode();
    assert_eq!(daemon.evict_everything().removed, 0);
    let reader = writer.seal().unwrap();
    assert_eq!(daemon.evict_everything().removed, 0);
    assert!(daemon.cache.invalidate(vec![daemon.key], now()).unwrap().has_finding());
    drop(reader);
    assert_eq!(daemon.evict_everything().removed, 1);
    assert!(!daemon.exists());
}

#[test]
fn there_is_one_writer() {
    let daemon = Daemon::new();
    let writer = daemon.writer();
    assert!(matches!(daemon.cache.start(daemon.key).unwrap(), Start::Busy(Busy::Locked)));
    drop(writer);
    let again = daemon.writer();
    drop(again.seal().unwrap());
    assert!(matches!(daemon.cache.start(daemon.key).unwrap(), Start::Sealed(_)));
}

#[test]
fn a_failed_encode_is_removed_and_a_dropped_one_is_left_to_be_resumed() {
    let daemon = Daemon::new();
    drop(daemon.encode());
    assert!(daemon.exists());
    daemon.encode().discard().unwrap();
    assert!(!daemon.exists());
    let names = fs::read_dir(daemon.dir.path()).unwrap().flatten();
    assert_eq!(
        names.filter(|name| name.file_name().to_string_lossy().starts_with(".trash")).count(),
        0
    );
}

#[test]
fn a_marker_never_lands_in_a_directory_that_was_not_written() {
    let daemon = Daemon::new();
    let writer = daemon.encode();
    let path = daemon.cache.dir_for(daemon.key);
    #[allow(clippy::disallowed_methods, reason = "a remover that takes no locks")]
    fs::rename(&path, daemon.dir.path().join("elsewhere")).unwrap();
    fs::create_dir(&path).unwrap();
    let failed = writer.seal().unwrap_err();
    assert!(!failed.writer.discard().unwrap(), "what has its name is not its own");
    assert!(!daemon.cache.has_complete(daemon.key).unwrap());
    assert!(!daemon.dir.path().join("elsewhere/.complete").exists());
}

#[test]
fn what_is_found_damaged_while_serving_goes_and_what_is_whole_stays() {
    let daemon = Daemon::new();
    drop(daemon.encode().seal().unwrap());
    assert!(!daemon.hit().discard_damaged(Checks::default()).unwrap());
    assert!(daemon.exists());
    fs::write(daemon.cache.dir_for(daemon.key).join("video/seg-0.m4s"), "").unwrap();
    let other = daemon.hit();
    assert!(!daemon.hit().discard_damaged(Checks::default()).unwrap(), "somebody else is watching");
    drop(other);
    assert!(daemon.hit().discard_damaged(Checks::default()).unwrap());
    assert!(!daemon.exists());
}

#[test]
fn a_failed_seal_gives_the_writer_back_and_names_its_reason() {
    let daemon = Daemon::new();
    let writer = daemon.encode();
    let marker = daemon.cache.dir_for(daemon.key).join(".complete");
    fs::create_dir(&marker).unwrap();
    let failed = writer.seal().unwrap_err();
    let error = failed.source().unwrap().downcast_ref::<hls_cache::Error>().unwrap();
    assert_eq!(error, &failed.error);
    assert_eq!(error.operation, Operation::Seal);
    assert_eq!(error.io_error_kind(), Some(io::ErrorKind::IsADirectory));
    let reason = error.source().unwrap().downcast_ref::<Reason>().unwrap();
    assert_eq!(
        (reason, reason.to_string()),
        (&error.reason, "Is a directory (os error 21)".into())
    );
    assert!(matches!(daemon.cache.start(daemon.key).unwrap(), Start::Busy(Busy::Locked)));
    assert_eq!(daemon.evict_everything().removed, 0, "the writer still pins it");
    #[allow(clippy::disallowed_methods, reason = "what stood in the way goes")]
    fs::remove_dir(marker).unwrap();
    drop(failed.writer.seal().unwrap());
    assert!(daemon.cache.has_complete(daemon.key).unwrap());
}

/// A pipe without a reader blocks who opens it for writing, for ever.
#[test]
fn a_seal_does_not_wait_for_the_other_end_of_a_pipe() {
    let daemon = Daemon::new();
    let writer = daemon.encode();
    let marker = daemon.cache.dir_for(daemon.key).join(".complete");
    rustix::fs::mknodat(CWD, &marker, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_eq!(writer.seal().unwrap_err().error.operation, Operation::Seal);
}

#[test]
fn a_discarded_entry_that_somebody_reads_is_said_to_be_there() {
    let daemon = Daemon::new();
    let writer = daemon.encode();
    let reader = daemon.cache.pin(daemon.key).unwrap().unwrap();
    assert!(!writer.discard().unwrap());
    assert!(daemon.exists());
    drop(reader);
    assert!(daemon.encode().discard().unwrap());
    assert!(!daemon.exists());
}

#[test]
fn guards_go_from_thread_to_thread() {
    fn can<T: Send + Sync + 'static>() {}
    can::<Cache>();
    can::<Pin>();
    can::<Writer>();
    can::<Lookup>();
    can::<Start>();
    can::<SealError>();
    can::<Outcome>();
}

#[test]
fn an_event_that_cannot_be_logged_fails_nobody() {
    let daemon = Daemon::new();
    fs::create_dir(daemon.dir.path().join(".events.log")).unwrap();
    let (): () = daemon.cache.record_hit(daemon.key, now());
    let (): () = daemon.cache.record_miss(daemon.key, now());
}

#[test]
fn hits_and_misses_are_counted() {
    let daemon = Daemon::new();
    for _ in 0..3 {
        daemon.cache.record_hit(daemon.key, now());
    }
    daemon.cache.record_miss(daemon.key, now());
    let rate = daemon.cache.stats(now()).unwrap().events.last_24h.unwrap();
    assert_eq!((rate.hits, rate.misses, rate.percent()), (3, 1, Some(75)));
}

#[test]
fn the_key_is_the_one_the_tool_prints() {
    let key = Cache::key_for("/a/b/../b/movie.mkv".as_ref(), "1080p", 0).unwrap();
    assert_eq!(key.to_string(), "9cd7e7a0505d91ac");
    assert!(Cache::key_for("".as_ref(), "1080p", 0).is_err());
}

/// A daemon that takes locks needs no warning about those that take none, for instance after it was taught to.
#[test]
fn a_daemons_own_sweep_does_not_warn_of_daemons_without_locks() {
    let daemon = Daemon::new();
    let video = daemon.cache.dir_for(daemon.key).join("video");
    fs::create_dir_all(&video).unwrap();
    fs::write(video.join("seg-0.m4s"), "segment").unwrap();
    let outcome = daemon.evict_everything();
    assert_eq!(outcome.removed, 1);
    let is_of_use = |notice: &Notice| matches!(notice, Notice::UnseenUse(_));
    assert!(!outcome.notices.iter().any(is_of_use), "{:?}", outcome.notices);
}
