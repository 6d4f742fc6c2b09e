//! Fragmented MP4 as ffmpeg's HLS muxer writes it: box headers, `moov` and `moof`, never media data.
//!
//! The reader is our own because `mp4-atom` 0.17 recurses as deep as the file says: half a megabyte
//! of nested `moof` headers overflows its stack, and `panic = "abort"` would end the whole run.
//!
//! What the headers prove: the boxes fill the file exactly, every sample that `moof` promises lies
//! in an `mdat`, no byte of an `mdat` is left over, and the tracks are the init's. What they cannot
//! tell: whether the media bytes are right (a zeroed or flipped stretch inside `mdat`), and whether an
//! init of another encode that has the same track ids and timescales carries the right codec setup.
//!
//! One long file, because boxes, init and segments share one reader and its limits against hostile input, and
//! because it is read beside the format's specification, from the file's first box to the sample tables.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;

use super::fault::FaultCode;

/// ffmpeg writes a box for `styp`, each track's `sidx`, `moof` and `mdat`; a chunked segment has two or
/// three for each chunk, of which there are hundreds at most. Beyond this lies a hostile file that
/// would cost one read for every eight bytes.
const MAX_BOXES: usize = 4096;

/// The bytes of `moov` or of all `moof` boxes in one file. A `moof` takes 16 bytes a sample at most: a
/// segment of 4 s has 2 to 4 KB, ten minutes at 120 frames a second a few MB. It is the only memory
/// whose size a file decides.
const MAX_HEADERS: u64 = 8 << 20;

/// A daemon maps one video and one audio track. Bounds what a hostile init makes a lookup cost, and how
/// long a fault that names tracks can get.
const MAX_TRACKS: usize = 64;

/// What ffmpeg and the CMAF packagers put at the top of a media segment. Another type there is a
/// damaged header: nothing between `styp` and the last `mdat` is free text.
const SEGMENT_BOXES: [&[u8; 4]; 11] = [
    b"styp", b"sidx", b"ssix", b"prft", b"emsg", b"moof", b"mdat", b"free", b"skip", b"uuid",
    b"mfra",
];

/// The same for the initialisation segment.
const INIT_BOXES: [&[u8; 4]; 6] = [b"ftyp", b"moov", b"free", b"skip", b"uuid", b"meta"];

/// Why a file was not accepted.
#[derive(Debug)]
pub(crate) enum Rejected {
    /// The system could not read the file, so its contents are unknown.
    Unreadable(io::Error),
    /// The contents are damaged.
    Damaged(FaultCode, String),
}

type Checked<T> = Result<T, Rejected>;

fn bad<T>(detail: impl Into<String>) -> Checked<T> {
    Err(Rejected::Damaged(FaultCode::BadBox, detail.into()))
}

fn truncated<T>(detail: impl Into<String>) -> Checked<T> {
    Err(Rejected::Damaged(FaultCode::Truncated, detail.into()))
}

fn foreign<T>(detail: impl Into<String>) -> Checked<T> {
    Err(Rejected::Damaged(FaultCode::ForeignInit, detail.into()))
}

/// A track as the initialisation segment declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    /// Ticks a second; never 0.
    pub(crate) timescale: u32,
    /// `vide`, `soun`, …
    pub(crate) handler: [u8; 4],
    /// `trex`: what a sample takes where its fragment does not say, in ticks and bytes.
    default_duration: u32,
    default_size: u32,
}

/// The tracks of an initialisation segment by track id.
pub(crate) type Init = BTreeMap<u32, Track>;

/// The stretch of one track's timeline that one fragment covers, in the track's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) track: u32,
    /// `baseMediaDecodeTime` of `tfdt`.
    pub(crate) start: u64,
    /// The sum of the fragment's sample durations; saturates.
    pub(crate) duration: u64,
}

/// Reads the initialisation segment `file` of `size` bytes.
pub(crate) fn read_init(file: &impl FileExt, size: u64) -> Checked<Init> {
    let layout =
        top_level(file, size, &INIT_BOXES, |seen| seen.iter().any(|found| found.kind == *b"moov"))?;
    let mut moovs = layout.iter().filter(|found| found.kind == *b"moov");
    let (moov, another) = (moovs.next(), moovs.next());
    let ftyp = layout.iter().any(|found| found.kind == *b"ftyp");
    match (ftyp, moov, another) {
        (true, Some(moov), None) => read_moov(&body(file, moov)?),
        (true, None, _) => truncated("the file ends before its moov box"),
        (false, ..) => bad("no ftyp box"),
        (true, Some(_), Some(_)) => bad("two moov boxes"),
    }
}

/// Reads the media segment `file` of `size` bytes. With an `init`, its tracks, timescales and sample
/// sizes are compared too, and the spans are returned in file order; without one (it is missing or
/// damaged itself) only the box structure is judged, and there are no spans.
pub(crate) fn read_segment(
    file: &impl FileExt,
    size: u64,
    init: Option<&Init>,
) -> Checked<Vec<Span>> {
    let layout = top_level(file, size, &SEGMENT_BOXES, |seen| {
        seen.iter().any(|found| found.kind == *b"moof")
            && seen.last().is_some_and(|found| found.kind == *b"mdat")
    })?;
    let of = |kind: [u8; 4]| layout.iter().filter(move |found| found.kind == kind);
    match (of(*b"moof").next(), of(*b"mdat").next()) {
        (Some(_), Some(_)) => {}
        (None, Some(_)) => return bad("no moof box"),
        (_, None) => return truncated("the file ends before its mdat box"),
    }
    if let Some(init) = init {
        for sidx in of(*b"sidx") {
            check_timescale(&mut Fields(&head::<12>(file, sidx)?), init)?;
        }
    }

    let (mut spans, mut referenced, mut headers) = (Vec::new(), 0_u64, 0_u64);
    let media: Vec<_> = of(*b"mdat").collect();
    for moof in of(*b"moof") {
        headers = headers.saturating_add(moof.body_size());
        if headers > MAX_HEADERS {
            return bad(format!("moof boxes of more than {MAX_HEADERS} bytes"));
        }
        let fragment = read_moof(&body(file, moof)?, moof.start, init)?;
        for run in &fragment.runs {
            referenced = referenced.saturating_add(run.size);
            let Some(start) = run.start else { continue };
            // By bisection: a hostile file has half a million runs and thousands of mdat boxes.
            let before = media.partition_point(|mdat| mdat.body <= start);
            let room = media[..before].last().map_or(0, |mdat| mdat.end.saturating_sub(start));
            if run.size > room {
                return bad("moof places samples outside mdat");
            }
        }
        spans.extend(fragment.spans);
    }
    let held = media.iter().fold(0_u64, |sum, mdat| sum.saturating_add(mdat.body_size()));
    // Exact, because ffmpeg's muxer fills mdat with nothing but the samples that it lists. Without the
    // init the default sizes are unknown.
    if init.is_some() && referenced != held {
        return bad(format!("moof lists {referenced} bytes of samples, mdat holds {held}"));
    }
    Ok(spans)
}

/// A box at the top level of a file: offsets in bytes from its start.
#[derive(Clone, Copy, Debug)]
struct TopBox {
    kind: [u8; 4],
    start: u64,
    body: u64,
    end: u64,
}

impl TopBox {
    fn body_size(&self) -> u64 {
        self.end.saturating_sub(self.body)
    }
}

/// The boxes of a whole file, which they must fill to the byte. `complete` tells whether those found so far
/// could be the whole file: what follows them is then junk rather than a box that was cut off.
fn top_level(
    file: &impl FileExt,
    size: u64,
    allowed: &[&[u8; 4]],
    complete: impl Fn(&[TopBox]) -> bool,
) -> Checked<Vec<TopBox>> {
    let mut found: Vec<TopBox> = Vec::new();
    let mut at = 0;
    while at < size {
        if found.len() == MAX_BOXES {
            return bad(format!("more than {MAX_BOXES} boxes"));
        }
        let left = size - at;
        let cut_off = |detail: String| {
            if complete(&found) {
                return bad(format!("{left} bytes of junk after the last box"));
            }
            truncated(detail)
        };
        if left < 8 {
            return cut_off(format!("{left} bytes at {at}, where a box header takes 8"));
        }
        let mut header = [0; 8];
        read(file, &mut header, at)?;
        let [a, b, c, d, kind @ ..] = header;
        // Report a wrong type before a wrong size: without a valid type the size means nothing.
        if !allowed.contains(&&kind) {
            if complete(&found) {
                return bad(format!("{left} bytes of junk after the last box"));
            }
            return bad(format!("box of type '{}' at {at}", kind.escape_ascii()));
        }
        let (header_size, length) = match u32::from_be_bytes([a, b, c, d]) {
            // ISO/IEC 14496-12 4.2: to the end of the file; ffmpeg writes it when it cannot seek.
            0 => (8, left),
            1 if left < 16 => return cut_off(format!("{left} bytes at {at}, a header takes 16")),
            1 => {
                let mut large = [0; 8];
                read(file, &mut large, at + 8)?;
                (16, u64::from_be_bytes(large))
            }
            short => (8, u64::from(short)),
        };
        if length < header_size {
            let kind = kind.escape_ascii();
            return bad(format!("{kind} box at {at} says it is {length} bytes long"));
        }
        if length > left {
            let kind = kind.escape_ascii();
            return truncated(format!("{kind} box at {at} takes {length} bytes, {left} are there"));
        }
        found.push(TopBox { kind, start: at, body: at + header_size, end: at + length });
        at += length;
    }
    Ok(found)
}

fn read(file: &impl FileExt, buffer: &mut [u8], at: u64) -> Checked<()> {
    match file.read_exact_at(buffer, at) {
        Ok(()) => Ok(()),
        // Shorter than `fstat` said a moment ago.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            truncated("the file became shorter while it was read")
        }
        Err(error) => Err(Rejected::Unreadable(error)),
    }
}

/// The first `N` bytes of a box's body.
fn head<const N: usize>(file: &impl FileExt, found: &TopBox) -> Checked<[u8; N]> {
    let mut bytes = [0; N];
    if found.body_size() < N as u64 {
        return bad(format!("{} box too short", found.kind.escape_ascii()));
    }
    read(file, &mut bytes, found.body)?;
    Ok(bytes)
}

/// The whole body of a header box.
fn body(file: &impl FileExt, found: &TopBox) -> Checked<Vec<u8>> {
    let kind = found.kind.escape_ascii();
    let Some(size) = Some(found.body_size()).filter(|&size| size <= MAX_HEADERS) else {
        return bad(format!("{kind} box of more than {MAX_HEADERS} bytes"));
    };
    let Ok(size) = usize::try_from(size) else { return bad(format!("{kind} box too large")) };
    let mut bytes = vec![0; size];
    read(file, &mut bytes, found.body)?;
    Ok(bytes)
}

/// Big-endian fields taken off the front of a box's body.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Checked<[u8; N]> {
        match self.0.split_first_chunk() {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(*taken)
            }
            None => bad("a box ends in the middle of a field"),
        }
    }

    fn u32(&mut self) -> Checked<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Checked<u64> {
        self.take().map(u64::from_be_bytes)
    }

    /// `version` and `flags` of a full box.
    fn version_flags(&mut self) -> Checked<(u8, u32)> {
        let [version, a, b, c] = self.take()?;
        Ok((version, u32::from_be_bytes([0, a, b, c])))
    }

    /// A field that is 64 bits wide in version 1 and 32 in version 0.
    fn wide(&mut self, version: u8) -> Checked<u64> {
        if version == 0 { self.u32().map(u64::from) } else { self.u64() }
    }

    /// A field that is only there when `flags` has `bit`.
    fn optional(&mut self, flags: u32, bit: u32) -> Checked<Option<u32>> {
        if flags & bit == 0 { Ok(None) } else { self.u32().map(Some) }
    }

    /// The next child box; `None` at the end of the parent. Iterative, one level at a time: what a file
    /// nests cannot deepen our stack.
    fn child(&mut self) -> Checked<Option<([u8; 4], Fields<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let length = self.u32()?;
        let kind = self.take::<4>()?;
        // The 64-bit form exists for boxes of 4 GiB, and "to the end" at the top level alone.
        let body = usize::try_from(length).ok().and_then(|length| length.checked_sub(8));
        match body.and_then(|body| self.0.split_at_checked(body)) {
            Some((inside, rest)) => {
                self.0 = rest;
                Ok(Some((kind, Fields(inside))))
            }
            None => bad(format!(
                "{} box of {length} bytes does not fit its parent",
                kind.escape_ascii()
            )),
        }
    }
}

fn read_moov(bytes: &[u8]) -> Checked<Init> {
    let (mut tracks, mut defaults, mut fragmented) = (BTreeMap::new(), BTreeMap::new(), false);
    let mut moov = Fields(bytes);
    while let Some((kind, mut inside)) = moov.child()? {
        match &kind {
            b"trak" => {
                let (id, timescale, handler) = read_trak(inside)?;
                if tracks.insert(id, (timescale, handler)).is_some() {
                    return bad(format!("two tracks with id {id}"));
                }
            }
            b"mvex" => {
                fragmented = true;
                while let Some((kind, mut trex)) = inside.child()? {
                    if kind == *b"trex" {
                        trex.version_flags()?;
                        let (id, _description) = (trex.u32()?, trex.u32()?);
                        defaults.insert(id, (trex.u32()?, trex.u32()?));
                    }
                }
            }
            _ => {}
        }
    }
    if tracks.is_empty() {
        return bad("moov without a track");
    }
    if tracks.len() > MAX_TRACKS {
        return bad(format!("more than {MAX_TRACKS} tracks"));
    }
    if !fragmented {
        return bad("moov without mvex: not the init of a fragmented file");
    }
    let complete = |(id, (timescale, handler))| {
        let Some(&(default_duration, default_size)) = defaults.get(&id) else {
            return bad(format!("no trex box for track {id}"));
        };
        Ok((id, Track { timescale, handler, default_duration, default_size }))
    };
    tracks.into_iter().map(complete).collect()
}

fn read_trak(mut trak: Fields) -> Checked<(u32, u32, [u8; 4])> {
    let (mut id, mut timescale, mut handler) = (None, None, None);
    while let Some((kind, mut inside)) = trak.child()? {
        match &kind {
            b"tkhd" => {
                let (version, _) = inside.version_flags()?;
                let _created_modified = (inside.wide(version)?, inside.wide(version)?);
                id = Some(inside.u32()?);
            }
            b"mdia" => {
                while let Some((kind, mut inside)) = inside.child()? {
                    let (version, _) = match &kind {
                        b"mdhd" | b"hdlr" => inside.version_flags()?,
                        _ => continue,
                    };
                    if kind == *b"mdhd" {
                        let _created_modified = (inside.wide(version)?, inside.wide(version)?);
                        timescale = Some(inside.u32()?);
                    } else {
                        let _predefined = inside.u32()?;
                        handler = Some(inside.take()?);
                    }
                }
            }
            _ => {}
        }
    }
    match (id, timescale, handler) {
        (Some(id), Some(timescale @ 1..), Some(handler)) => Ok((id, timescale, handler)),
        _ => bad("a track without id, timescale or handler"),
    }
}

/// ffmpeg puts each track's timescale into its `sidx` too, so segments reveal an init whose track of the
/// same id counts in other ticks (25 and 30 fps, 44.1 and 48 kHz).
fn check_timescale(sidx: &mut Fields, init: &Init) -> Checked<()> {
    sidx.version_flags()?;
    let (id, timescale) = (sidx.u32()?, sidx.u32()?);
    match init.get(&id) {
        Some(track) if track.timescale != timescale => foreign(format!(
            "track {id} counts {timescale} ticks a second, {} in the init",
            track.timescale
        )),
        _ => Ok(()),
    }
}

/// The samples of one `moof`.
struct Fragment {
    spans: Vec<Span>,
    runs: Vec<Run>,
}

/// Samples that lie next to each other.
struct Run {
    /// Offset in the file; `None` where the writer's own file offset is given, which in a segment cut from
    /// a longer stream may count from that stream's start.
    start: Option<u64>,
    /// In bytes; saturates.
    size: u64,
}

fn read_moof(bytes: &[u8], moof_start: u64, init: Option<&Init>) -> Checked<Fragment> {
    let mut fragment = Fragment { spans: Vec::new(), runs: Vec::new() };
    let mut data_end = Some(moof_start);
    let (mut moof, mut has_track) = (Fields(bytes), false);
    while let Some((kind, inside)) = moof.child()? {
        if kind == *b"traf" {
            has_track = true;
            read_traf(inside, moof_start, &mut data_end, init, &mut fragment)?;
        }
    }
    if !has_track {
        return bad("moof without a track");
    }
    Ok(fragment)
}

/// `data_end` is where the data of the track before ended: the base offset of a `traf` that names none
/// (ISO/IEC 14496-12 8.8.7).
fn read_traf(
    mut traf: Fields,
    moof_start: u64,
    data_end: &mut Option<u64>,
    init: Option<&Init>,
    fragment: &mut Fragment,
) -> Checked<()> {
    let Some((kind, mut tfhd)) = traf.child()? else { return bad("traf without tfhd") };
    if kind != *b"tfhd" {
        return bad("traf does not begin with tfhd");
    }
    let (_, flags) = tfhd.version_flags()?;
    let id = tfhd.u32()?;
    let track = match init {
        None => None,
        Some(init) => match init.get(&id) {
            Some(track) => Some(track),
            None => return foreign(format!("track {id} is not in the init")),
        },
    };
    let base = if flags & 1 != 0 {
        tfhd.u64()?;
        None
    } else if flags & 0x02_0000 != 0 {
        Some(moof_start)
    } else {
        *data_end
    };
    tfhd.optional(flags, 0x02)?;
    let default_duration =
        tfhd.optional(flags, 0x08)?.or(track.map(|track| track.default_duration));
    let default_size = tfhd.optional(flags, 0x10)?.or(track.map(|track| track.default_size));

    let (mut start, mut duration, mut at) = (None, 0_u64, base);
    while let Some((kind, mut inside)) = traf.child()? {
        match &kind {
            b"tfdt" => {
                let (version, _) = inside.version_flags()?;
                start = Some(inside.wide(version)?);
            }
            b"trun" => {
                let run = read_trun(inside, default_duration, default_size)?;
                if let Some(offset) = run.data_offset {
                    at = base.and_then(|base| base.checked_add_signed(offset.into()));
                    if base.is_some() && at.is_none() {
                        return bad("moof places samples before the start of the file");
                    }
                }
                fragment.runs.push(Run { start: at, size: run.size });
                at = at.map(|at| at.saturating_add(run.size));
                duration = duration.saturating_add(run.duration);
            }
            _ => {}
        }
    }
    *data_end = at;
    let Some(start) = start else { return bad(format!("no tfdt box for track {id}")) };
    if init.is_some() {
        fragment.spans.push(Span { track: id, start, duration });
    }
    Ok(())
}

struct Trun {
    data_offset: Option<i32>,
    duration: u64,
    size: u64,
}

fn read_trun(
    mut trun: Fields,
    default_duration: Option<u32>,
    default_size: Option<u32>,
) -> Checked<Trun> {
    let (_, flags) = trun.version_flags()?;
    let count = trun.u32()?;
    let data_offset = trun.optional(flags, 0x01)?.map(u32::cast_signed);
    trun.optional(flags, 0x04)?;
    let (default_duration, default_size) =
        (u64::from(default_duration.unwrap_or(0)), u64::from(default_size.unwrap_or(0)));
    let (mut duration, mut size) = (0_u64, 0_u64);
    if flags & 0xf00 == 0 {
        // Nothing is stored for a sample, so the count may be anything: multiply, never loop.
        duration = u64::from(count).saturating_mul(default_duration);
        size = u64::from(count).saturating_mul(default_size);
    } else {
        for _ in 0..count {
            let sample = trun.optional(flags, 0x100)?.map_or(default_duration, u64::from);
            duration = duration.saturating_add(sample);
            let sample = trun.optional(flags, 0x200)?.map_or(default_size, u64::from);
            size = size.saturating_add(sample);
            let _flags = trun.optional(flags, 0x400)?;
            let _composition_offset = trun.optional(flags, 0x800)?;
        }
    }
    if !trun.0.is_empty() {
        return bad("trun lists other samples than it counts");
    }
    Ok(Trun { data_offset, duration, size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file in memory that can claim any size.
    struct Bytes(Vec<u8>);

    impl FileExt for Bytes {
        fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
            let from = usize::try_from(at).unwrap_or(usize::MAX).min(self.0.len());
            io::Read::read(&mut &self.0[from..], buffer)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::ReadOnlyFilesystem.into())
        }
    }

    fn fixture(name: &str) -> Vec<u8> {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/entry/video/");
        std::fs::read(format!("{directory}{name}")).unwrap()
    }

    fn init() -> Init {
        let bytes = fixture("init.mp4");
        let size = bytes.len() as u64;
        read_init(&Bytes(bytes), size).unwrap()
    }

    /// Calls both readers, with and without an init. Any result is fine; a panic or a hang is not.
    fn read_all(bytes: Vec<u8>, size: u64, init: &Init) {
        let file = Bytes(bytes);
        let _ = read_init(&file, size);
        let _ = read_segment(&file, size, None);
        let _ = read_segment(&file, size, Some(init));
    }

    fn boxed(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + 8).unwrap();
        [&size.to_be_bytes(), &kind, body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// What is wrong with a segment of these boxes, if anything.
    fn damage(boxes: &[&[u8]], init: Option<&Init>) -> Option<FaultCode> {
        let bytes = boxes.concat();
        let size = bytes.len() as u64;
        code(read_segment(&Bytes(bytes), size, init))
    }

    fn code<T>(read: Checked<T>) -> Option<FaultCode> {
        match read {
            Ok(_) => None,
            Err(Rejected::Damaged(code, _)) => Some(code),
            Err(Rejected::Unreadable(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn tracks_and_spans_are_those_that_ffmpeg_wrote() {
        let init = init();
        let tracks: Vec<_> =
            init.iter().map(|(&id, track)| (id, track.timescale, &track.handler)).collect();
        assert_eq!(tracks, [(1, 12_800, b"vide"), (2, 48_000, b"soun")]);
        let bytes = fixture("seg-1.m4s");
        let size = bytes.len() as u64;
        let spans = read_segment(&Bytes(bytes), size, Some(&init)).unwrap();
        let video = Span { track: 1, start: 51_200, duration: 51_200 };
        let audio = Span { track: 2, start: 0x2_e400, duration: 0x2_f000 };
        assert_eq!(spans, [video, audio]);
    }

    #[test]
    fn a_64_bit_size_and_a_size_to_the_end_are_read_as_the_same_box() {
        let (init, bytes) = (init(), fixture("seg-1.m4s"));
        let at = bytes.windows(4).position(|four| four == b"mdat").unwrap() - 4;
        let open_ended = [&bytes[..at], &[0; 4], &bytes[at + 4..]].concat();
        let size = open_ended.len() as u64;
        assert!(read_segment(&Bytes(open_ended), size, Some(&init)).is_ok());

        // The larger header moves the data by 8 bytes, so an empty one goes first instead.
        let large = [&1_u32.to_be_bytes()[..], b"free", &16_u64.to_be_bytes()].concat();
        let prefixed = [large, bytes].concat();
        let size = prefixed.len() as u64;
        assert!(read_segment(&Bytes(prefixed), size, Some(&init)).is_ok());
    }

    #[test]
    fn a_64_bit_header_at_the_end_is_whole_or_junk() {
        let (segment, box_of_16) =
            (fixture("seg-1.m4s"), [&words(&[1])[..], b"free", &words(&[0, 16])].concat());
        assert_eq!(damage(&[&segment, &box_of_16], None), None);
        for kept in 8..16 {
            let junk = damage(&[&segment, &box_of_16[..kept]], None);
            assert_eq!(junk, Some(FaultCode::BadBox), "{kept}");
        }
    }

    #[test]
    fn a_sidx_is_judged_by_its_own_bytes() {
        let (init, segment) = (init(), fixture("seg-1.m4s"));
        let timescale = words(&[0, 1, 12_800]);
        assert_eq!(damage(&[&boxed(*b"sidx", &timescale), &segment], Some(&init)), None);
        // The size of the next box must not pass for the timescale.
        let short = boxed(*b"sidx", &timescale[..8]);
        assert_eq!(damage(&[&short, &segment], Some(&init)), Some(FaultCode::BadBox));
    }

    #[test]
    fn a_file_that_shrinks_is_truncated_and_one_that_cannot_be_read_is_not_judged() {
        struct Unreadable;
        impl FileExt for Unreadable {
            fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }

            fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }

        let mut bytes = fixture("seg-1.m4s");
        let size = bytes.len() as u64;
        bytes.truncate(100);
        let shrunk = read_segment(&Bytes(bytes), size, None);
        assert_eq!(code(shrunk), Some(FaultCode::Truncated));
        let unreadable = read_segment(&Unreadable, size, None);
        assert!(matches!(unreadable, Err(Rejected::Unreadable(_))), "{unreadable:?}");
    }

    /// ISO/IEC 14496-12 8.8.7; ffmpeg names a base itself.
    #[test]
    fn a_track_that_names_no_base_begins_where_the_one_before_ended() {
        let track = |id, run: &[u32]| {
            let tfhd = boxed(*b"tfhd", &words(&[0x10, id, 10]));
            let rest = [boxed(*b"tfdt", &[0; 8]), boxed(*b"trun", &words(run))].concat();
            boxed(*b"traf", &[tfhd, rest].concat())
        };
        let moof =
            |offset| boxed(*b"moof", &[track(1, &[1, 1, offset]), track(2, &[0, 1])].concat());
        let media_offset = u32::try_from(moof(0).len() + 8).unwrap();
        let moof = moof(media_offset);
        assert_eq!(damage(&[&moof, &boxed(*b"mdat", &[0; 20])], None), None);
        let too_short = damage(&[&moof, &boxed(*b"mdat", &[0; 19])], None);
        assert_eq!(too_short, Some(FaultCode::BadBox));
    }

    #[test]
    fn an_init_may_have_as_many_tracks_as_the_bound_and_no_more() {
        let read = |tracks: usize| {
            let ids = 1..=u32::try_from(tracks).unwrap();
            let track = |id| {
                let mdhd = boxed(*b"mdhd", &words(&[0, 0, 0, 48_000]));
                let hdlr = boxed(*b"hdlr", &words(&[0, 0, u32::from_be_bytes(*b"soun")]));
                let tkhd = boxed(*b"tkhd", &words(&[0, 0, 0, id]));
                let mdia = boxed(*b"mdia", &[mdhd, hdlr].concat());
                boxed(*b"trak", &[tkhd, mdia].concat())
            };
            let trex = |id| boxed(*b"trex", &words(&[0, id, 1, 0, 0, 0]));
            let mvex = boxed(*b"mvex", &ids.clone().flat_map(trex).collect::<Vec<_>>());
            let moov = [ids.flat_map(track).collect(), mvex].concat();
            let bytes = [boxed(*b"ftyp", b""), boxed(*b"moov", &moov)].concat();
            let size = bytes.len() as u64;
            read_init(&Bytes(bytes), size)
        };
        assert_eq!(read(MAX_TRACKS).unwrap().len(), MAX_TRACKS);
        assert_eq!(code(read(MAX_TRACKS + 1)), Some(FaultCode::BadBox));
    }

    #[test]
    fn the_bound_on_headers_is_for_all_of_a_file_together() {
        let moof = |body: u64| {
            let track = [boxed(*b"tfhd", &[0; 8]), boxed(*b"tfdt", &[0; 8])].concat();
            let traf = boxed(*b"traf", &track);
            let free = usize::try_from(body).unwrap() - traf.len() - 8;
            boxed(*b"moof", &[traf, boxed(*b"free", &vec![0; free])].concat())
        };
        let (half, mdat) = (moof(MAX_HEADERS / 2), boxed(*b"mdat", b""));
        assert_eq!(damage(&[&half, &half, &mdat], None), None);
        let more = moof(MAX_HEADERS / 2 + 1);
        assert_eq!(damage(&[&half, &more, &mdat], None), Some(FaultCode::BadBox));
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let boxes = (1..=200_000_u32).rev();
        let nested: Vec<u8> =
            boxes.flat_map(|left| [(left * 8).to_be_bytes(), *b"moof"].concat()).collect();
        let size = nested.len() as u64;
        read_all(nested, size, &init());
    }

    #[test]
    fn a_count_of_samples_costs_neither_time_nor_memory() {
        let tfhd = [&[0, 2, 0, 0x18][..], &[0, 0, 0, 1], &[255; 8]].concat();
        let trun = [&[0; 4][..], &[255; 4]].concat();
        let runs = boxed(*b"trun", &trun).repeat(50_000);
        let traf = [boxed(*b"tfhd", &tfhd), boxed(*b"tfdt", &[0; 8]), runs].concat();
        let moof = boxed(*b"moof", &boxed(*b"traf", &traf));
        let bytes = [moof, boxed(*b"mdat", b"x")].concat();
        let size = bytes.len() as u64;
        assert!(read_segment(&Bytes(bytes), size, Some(&init())).is_err());
    }

    #[test]
    fn a_header_box_beyond_the_bound_is_refused_before_it_is_read() {
        let claimed = 1_u64 << 40;
        let mut bytes = [1_u32.to_be_bytes(), *b"moof"].concat();
        bytes.extend(claimed.to_be_bytes());
        let file = Bytes([bytes, boxed(*b"mdat", b"")].concat());
        assert!(read_segment(&file, claimed, None).is_err());
        assert!(read_segment(&file, u64::MAX, None).is_err());
    }

    #[test]
    fn thousands_of_boxes_are_refused() {
        let bytes = boxed(*b"free", b"").repeat(MAX_BOXES + 1);
        let size = bytes.len() as u64;
        assert!(matches!(
            read_segment(&Bytes(bytes), size, None),
            Err(Rejected::Damaged(FaultCode::BadBox, _))
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512), size: u64) {
            let real = bytes.len() as u64;
            let init = init();
            read_all(bytes.clone(), real, &init);
            read_all(bytes, size, &init);
        }

        /// Boxes of the right types around arbitrary bytes get further than noise does.
        #[test]
        fn arbitrary_fields_never_panic(
            tfhd in prop::collection::vec(any::<u8>(), 0..40),
            tfdt in prop::collection::vec(any::<u8>(), 0..16),
            trun in prop::collection::vec(any::<u8>(), 0..64),
            mdat in prop::collection::vec(any::<u8>(), 0..16),
        ) {
            let traf = [boxed(*b"tfhd", &tfhd), boxed(*b"tfdt", &tfdt), boxed(*b"trun", &trun)];
            let moof = boxed(*b"moof", &boxed(*b"traf", &traf.concat()));
            let bytes = [boxed(*b"sidx", &tfhd), moof, boxed(*b"mdat", &mdat)].concat();
            let size = bytes.len() as u64;
            read_all(bytes, size, &init());
        }

        #[test]
        fn mutated_headers_never_panic(
            of_init: bool,
            edits in prop::collection::vec((0_usize..2048, prop_oneof![Just(0), Just(255), any::<u8>()]), 1..8),
            cut in prop::option::of(0_usize..2048),
        ) {
            let mut bytes = fixture(if of_init { "init.mp4" } else { "seg-1.m4s" });
            for (at, with) in edits {
                let at = at % bytes.len();
                bytes[at] = with;
            }
            bytes.truncate(cut.unwrap_or(usize::MAX));
            let size = bytes.len() as u64;
            read_all(bytes, size, &init());
        }

        /// A cut anywhere is seen, whatever the init.
        #[test]
        fn every_cut_is_truncation(keep in 1_usize..20_198) {
            let mut bytes = fixture("seg-1.m4s");
            prop_assert!(keep < bytes.len());
            bytes.truncate(keep);
            let read = read_segment(&Bytes(bytes), keep as u64, None);
            prop_assert!(matches!(read, Err(Rejected::Damaged(FaultCode::Truncated, _))), "{read:?}");
        }
    }
}
