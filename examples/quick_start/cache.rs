//! A small cache, as a daemon would leave it, made from copies of an entry that ffmpeg wrote.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use filetime::FileTime;
use hls_cache::daemon::{Cache, Pin};
use hls_cache::{Error, Key};
use tempfile::TempDir;
use walkdir::WalkDir;

const HOUR: Duration = Duration::from_secs(3600);
const QUALITY: &str = "1080p";
/// Daemons use -1 for the default audio track.
const AUDIO: i64 = -1;
/// Added to every age, so that the ages shown do not depend on the second of the run.
const SLACK: Duration = Duration::from_secs(5);

struct Film {
    name: &'static str,
    /// Hours ago.
    transcoded: u32,
    /// Hours ago.
    played: u32,
    emptied: &'static [&'static str],
    lost: &'static [&'static str],
}

const FILMS: [Film; 6] = [
    Film { name: "alien", transcoded: 390, played: 219, emptied: &[], lost: &[] },
    Film { name: "brazil", transcoded: 244, played: 171, emptied: &[], lost: &[] },
    Film {
        name: "casablanca",
        transcoded: 124,
        played: 122,
        emptied: &["video/seg-2.m4s"],
        lost: &["video/seg-3.m4s"],
    },
    Film {
        name: "dune",
        transcoded: 53,
        played: 53,
        emptied: &[],
        lost: &[".complete", "video/seg-4.m4s"],
    },
    Film { name: "eraserhead", transcoded: 201, played: 26, emptied: &[], lost: &[] },
    Film { name: "fargo", transcoded: 21, played: 3, emptied: &[], lost: &[] },
];

/// The cache, in a temporary directory that is deleted with this value.
pub struct DemoCache {
    /// Pins one entry, as a player would.
    _viewer: Pin,
    directory: TempDir,
    /// The media files, empty.
    media: TempDir,
}

impl DemoCache {
    /// Makes an entry and its events for each of [`FILMS`], and pins one; ages count from `now`.
    pub fn lay_out(now: SystemTime) -> Result<Self, Box<dyn std::error::Error>> {
        let directory = tempfile::Builder::new().prefix("hls-cache-demo-").tempdir()?;
        let media = tempfile::Builder::new().prefix("hls-cache-media-").tempdir()?;
        let cache = Cache::open(directory.path())?;
        let ago = |age: Duration| now - age - SLACK;
        for film in FILMS {
            let key = key(film.name)?;
            fs::write(media.path().join(film.name).with_extension("mkv"), "")?;
            let path = cache.dir_for(key);
            copy(&fixture(), &path)?;
            for file in film.emptied {
                fs::write(path.join(file), "")?;
            }
            for file in film.lost {
                fs::remove_file(path.join(file))?;
            }
            cache.record_miss(key, ago(film.transcoded * HOUR));
            if film.played < film.transcoded {
                cache.record_hit(key, ago(film.played * HOUR));
            }
            age(&path, ago(film.played * HOUR))?;
        }
        let viewer = cache.pin(key("alien")?)?.ok_or("a remover is at work in a new cache")?;
        Ok(Self { _viewer: viewer, directory, media })
    }

    /// The value of `--library`: the media files, which the daemon saw in `/media`.
    pub fn library(&self) -> String {
        format!("{}=/media", self.media.path().display())
    }

    /// The cache's directory.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }
}

fn key(film: &str) -> Result<Key, Error> {
    Cache::key_for(format!("/media/{film}.mkv").as_ref(), QUALITY, AUDIO)
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/entry")
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for found in WalkDir::new(from) {
        let found = found?;
        let to = to.join(found.path().strip_prefix(from).map_err(io::Error::other)?);
        if found.file_type().is_dir() {
            fs::create_dir(to)?;
        } else {
            fs::copy(found.path(), to)?;
        }
    }
    Ok(())
}

/// Sets the access and modification times of a whole tree to the same time: a file that was read after it
/// was written counts as watched.
fn age(path: &Path, time: SystemTime) -> io::Result<()> {
    let time = FileTime::from_system_time(time);
    for found in WalkDir::new(path) {
        filetime::set_file_times(found?.path(), time, time)?;
    }
    Ok(())
}
