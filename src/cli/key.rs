//! `key`: compute keys; touches no cache, and reads one file of it for `--stamp`. Sources are streamed: a batch is
//! never collected.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use hls_cache::key::{self, EmptySource, Key, KeySuffix};
use hls_cache::{Encode, Error, Escaped, Operation, layout, stamp};
use rustix::io::Errno;

use super::{Context, output_error};
use crate::cli::args::KeyArgs;
use crate::cli::exit::{Exit, UsageError};
use crate::cli::report;

/// Bytes read from and written to a pipe at once: its default capacity, so that neither side waits longer
/// than necessary.
const BUFFER: usize = 64 * 1024;

/// What a daemon hashes if it burns no subtitle into the picture.
const NO_SUBTITLE: i64 = -1;

pub fn run(context: &Context<'_>, args: &KeyArgs) -> anyhow::Result<Exit> {
    let root = if args.dir { Some(PathBuf::from(context.root_name()?)) } else { None };
    let settings = settings(context, args)?;
    let mut printer = Printer {
        out: BufWriter::with_capacity(BUFFER, io::stdout().lock()),
        tracks: tracks(args, settings.as_deref()),
        root,
        is_id: args.id,
        json: context.global.json,
        long: args.long,
        end: if args.null { b'\0' } else { b'\n' },
        escape: io::stdout().is_terminal(),
        working_dir: None,
        exit: Exit::Done,
    };
    let result = if args.stdin { printer.stdin() } else { printer.arguments(&args.source) };
    match result.and_then(|()| printer.out.flush().map_err(output_error)) {
        // A reader that closes the pipe early is not an error.
        Err(error)
            if error.operation == Operation::Write
                && error.io_error_kind() == Some(io::ErrorKind::BrokenPipe) =>
        {
            Ok(printer.exit)
        }
        Err(error) => Err(error.into()),
        Ok(()) => Ok(printer.exit),
    }
}

/// The encoder settings of keys of five parts; `None` for keys of three.
fn settings(context: &Context<'_>, args: &KeyArgs) -> anyhow::Result<Option<Vec<u8>>> {
    let usage = |message: &str| Err(UsageError::with_remedy(message.into()).into());
    match &args.encode {
        Some(_) if args.stamp => {
            usage("--encode and --stamp both give the encoder settings; drop one")
        }
        Some(text) => Ok(Some(text.as_bytes().to_vec())),
        None if args.stamp => read_stamp(context).map(Some),
        None if !args.burn.is_empty() => {
            usage("--burn makes keys of five parts; add --encode TEXT or --stamp")
        }
        None => Ok(None),
    }
}

fn read_stamp(context: &Context<'_>) -> anyhow::Result<Vec<u8>> {
    let root = context.open_root()?;
    let settings = stamp::read(&root).and_then(|settings| {
        let path = || root.path().join(layout::ENCODE_STAMP);
        settings.ok_or_else(|| Error::new(Operation::ReadEncodeStamp, path(), Errno::NOENT))
    });
    match settings {
        Ok(settings) => Ok(settings.into_bytes()),
        Err(error) => Err(anyhow::Error::msg(report::no_settings(&error))),
    }
}

/// What is hashed with each source, in the order of output.
fn tracks<'a>(args: &'a KeyArgs, settings: Option<&'a [u8]>) -> Vec<Track<'a>> {
    let encodes = match settings {
        None => vec![None],
        Some(settings) => {
            let burns = if args.burn.is_empty() { &[NO_SUBTITLE] } else { &*args.burn };
            burns.iter().map(|&burn| Some(Encode { burn, settings })).collect()
        }
    };
    let mut tracks = Vec::new();
    for quality in &args.quality {
        let quality = quality.as_bytes();
        for &audio in &args.audio {
            tracks.extend(encodes.iter().map(|&encode| {
                let suffix = KeySuffix::new(quality, audio, encode);
                Track { quality, audio, encode, suffix }
            }));
        }
    }
    tracks
}

/// A quality with an audio track, and for a key of five parts with a burnt-in subtitle.
struct Track<'a> {
    quality: &'a [u8],
    audio: i64,
    encode: Option<Encode<'a>>,
    suffix: KeySuffix,
}

struct Printer<'a, W> {
    out: W,
    tracks: Vec<Track<'a>>,
    root: Option<PathBuf>,
    /// Sources are ids, not paths.
    is_id: bool,
    json: bool,
    long: bool,
    end: u8,
    /// A person reads, and a source may be called after an escape sequence.
    escape: bool,
    /// Asked for once, at the first relative source.
    working_dir: Option<PathBuf>,
    exit: Exit,
}

impl<W: Write> Printer<'_, W> {
    fn arguments(&mut self, sources: &[OsString]) -> Result<(), Error> {
        sources.iter().try_for_each(|source| self.source(source.as_bytes()))
    }

    fn stdin(&mut self) -> Result<(), Error> {
        let mut input = BufReader::with_capacity(BUFFER, io::stdin().lock());
        // What was read of a record that goes on; all others are hashed where they are read.
        let mut begun = Vec::new();
        loop {
            let read = match input.fill_buf() {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::new(Operation::Read, "standard input", error)),
            };
            let length = read.len();
            if length == 0 {
                return if begun.is_empty() { Ok(()) } else { self.source(&begun) };
            }
            let mut rest = read;
            while let Some(end) = memchr::memchr(self.end, rest) {
                if begun.is_empty() {
                    self.source(&rest[..end])?;
                } else {
                    begun.extend_from_slice(&rest[..end]);
                    self.source(&begun)?;
                    begun.clear();
                }
                rest = &rest[end + 1..];
            }
            begun.extend_from_slice(rest);
            input.consume(length);
        }
    }

    fn source(&mut self, source: &[u8]) -> Result<(), Error> {
        if source.is_empty() {
            if self.is_id {
                self.skip(&"the id is empty: name a source");
            } else {
                self.skip(&EmptySource);
            }
            return Ok(());
        }
        let absolute = match self.absolute(source) {
            Ok(absolute) => absolute,
            Err(reason) => {
                let source = PathBuf::from(OsStr::from_bytes(source));
                self.skip(&Error::new(Operation::FindWorkingDir, source, reason));
                return Ok(());
            }
        };
        for index in 0..self.tracks.len() {
            let key = self.tracks[index].suffix.key(&absolute);
            self.print(key, index, source).map_err(output_error)?;
        }
        Ok(())
    }

    /// Reports a source that has no key; the others are printed.
    fn skip(&mut self, reason: &impl fmt::Display) {
        report::report_error(reason);
        self.exit = Exit::Error;
    }

    fn absolute<'s>(&mut self, source: &'s [u8]) -> io::Result<Cow<'s, [u8]>> {
        if self.is_id {
            return Ok(Cow::Borrowed(source));
        }
        let known = &mut self.working_dir;
        key::absolute(source, || match known {
            Some(directory) => Ok(directory.clone()),
            None => Ok(known.insert(key::working_dir(std::env::var_os("PWD").as_deref())?).clone()),
        })
    }

    fn print(&mut self, key: Key, track: usize, source: &[u8]) -> io::Result<()> {
        if self.json || self.long || self.root.is_some() {
            return self.print_fields(key, track, source);
        }
        let mut record = [self.end; Key::LEN + 1];
        record[..Key::LEN].copy_from_slice(&key.to_hex());
        self.out.write_all(&record)
    }

    /// Prints a record of more than a key. Not part of [`Self::print`], which the compiler would then no longer
    /// inline into the loop over the sources.
    fn print_fields(&mut self, key: Key, track: usize, source: &[u8]) -> io::Result<()> {
        let &Track { quality, audio, encode, .. } = &self.tracks[track];
        if self.json {
            let root = self.root.as_deref();
            return report::json::key(&mut self.out, key, source, quality, audio, encode, root);
        }
        let escape = self.escape;
        let text = |out: &mut W, text: &[u8]| {
            if escape {
                write!(out, "{}", Escaped::new(OsStr::from_bytes(text)))
            } else {
                out.write_all(text)
            }
        };
        if let Some(root) = &self.root {
            text(&mut self.out, root.join(key.to_string()).as_os_str().as_bytes())?;
        } else {
            self.out.write_all(&key.to_hex())?;
        }
        if self.long {
            let out = &mut self.out;
            out.write_all(b"\t")?;
            text(out, quality)?;
            write!(out, "\t{audio}\t")?;
            if let Some(Encode { burn, .. }) = encode {
                write!(out, "{burn}\t")?;
            }
            text(out, source)?;
        }
        self.out.write_all(&[self.end])
    }
}
