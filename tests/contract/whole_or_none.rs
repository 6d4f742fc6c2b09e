//! Readers, a writer and removers at once: whoever holds the pin sees a whole entry or none.

use std::fs::{self, File};
use std::thread;

use rustix::fs::{FlockOperation, flock};

use crate::common::{Age, SEGMENTS, Size, TestCache, key};

const ROUNDS: usize = 20;
const LOOKS: usize = 200;

/// What a daemon does on a hit: pin, then look. True where the entry is there and whole.
fn hit(cache: &TestCache) -> bool {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let pin = options.open(cache.pin_path("a")).unwrap();
    flock(&pin, FlockOperation::LockShared).unwrap();
    let entry = cache.entry_path("a");
    if !entry.join(".complete").exists() {
        return false;
    }
    for n in 0..SEGMENTS {
        let segment = entry.join(format!("video/seg-{n}.m4s"));
        assert!(fs::metadata(&segment).is_ok_and(|meta| meta.len() > 0), "half an entry");
    }
    true
}

#[test]
fn a_reader_that_pins_never_sees_half_an_entry() {
    let commands: [&[&str]; 3] = [
        &["sweep", "--max-size", "0", "--min-budget", "0"],
        &["invalidate", &key("a")],
        &["invalidate", "--all"],
    ];
    let mut hits = 0;
    for command in commands.iter().cycle().take(ROUNDS) {
        let cache = &TestCache::new().sealed("a", 1.mib(), 5.days());
        thread::scope(|scope| {
            let reader = scope.spawn(|| (0..LOOKS).filter(|_| hit(cache)).count());
            let run = cache.run(*command);
            // Who is first is chance; that the status tells who it was is not.
            match run.output.status.code() {
                Some(0) => assert!(!cache.has("a"), "{run}"),
                Some(3) => assert!(cache.has("a"), "{run}"),
                _ => panic!("{run}"),
            }
            hits += reader.join().unwrap();
        });
    }
    assert!(hits > 0, "no reader ever saw the entry");
}
