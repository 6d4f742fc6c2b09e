//! Segment numbers (found, named in a playlist, expected), and playlists.

use super::playlist::highest_in_playlist;
use super::*;
use crate::layout;
use crate::sys::mutated::mutated;
use proptest::prelude::*;

fn faults(
    segments: &[(u64, Content)],
    highest_named: Option<u64>,
    expected: Option<u64>,
) -> Vec<(FaultCode, String)> {
    let mut video = Video { segments: segments.to_vec(), highest_named, ..Video::default() };
    let faults = video.segment_faults(video.last_segment(expected));
    faults.into_iter().map(|fault| (fault.code, fault.file.display().to_string())).collect()
}

fn at(code: FaultCode, file: &str) -> (FaultCode, String) {
    (code, file.into())
}

#[test]
fn missing_segments_are_found_at_either_end_and_in_the_middle() {
    use Content::{Bytes, Empty};
    use FaultCode::{EmptySegment, MissingSegment, NoSegments};
    let all = [(0, Bytes), (1, Bytes), (2, Bytes)];
    assert_eq!(faults(&all, None, None), []);
    assert_eq!(faults(&all, Some(2), Some(3)), []);
    assert_eq!(faults(&all, Some(2), Some(2)), [], "more than expected is no fault");
    assert_eq!(faults(&all, Some(3), None), [at(MissingSegment, "video/seg-3.m4s")]);
    assert_eq!(faults(&all, None, Some(9)), [at(MissingSegment, "video/seg-3.m4s")]);
    assert_eq!(faults(&[(2, Bytes)], None, None), [at(MissingSegment, "video/seg-0.m4s")]);
    assert_eq!(
        faults(&[(0, Bytes), (5, Empty)], None, None),
        [at(MissingSegment, "video/seg-1.m4s"), at(EmptySegment, "video/seg-5.m4s"),]
    );
    assert_eq!(faults(&[], None, None), [at(NoSegments, "video")]);
    assert_eq!(faults(&[], Some(5), None), [at(NoSegments, "video")]);
    assert_eq!(
        faults(&[(0, Content::Not(FileType::Symlink))], None, None),
        [at(MissingSegment, "video/seg-0.m4s")]
    );
}

#[test]
fn a_fault_says_how_many_are_missing_or_what_stands_there() {
    let details = |segments: &[(u64, Content)]| -> Vec<_> {
        let mut video = Video { segments: segments.to_vec(), ..Video::default() };
        let faults = video.segment_faults(video.last_segment(None));
        faults.into_iter().map(|fault| fault.detail).collect()
    };
    assert_eq!(details(&[(1, Content::Bytes)]), ["is missing"]);
    assert_eq!(details(&[(3, Content::Bytes)]), ["segments 0-2 missing"]);
    for (kind, detail) in [
        (FileType::Directory, "is a directory, not a file"),
        (FileType::Symlink, "is a symlink, not a file"),
        (FileType::Fifo, "is not a regular file"),
    ] {
        assert_eq!(details(&[(0, Content::Not(kind))]), [detail]);
    }
}

#[test]
fn the_highest_possible_number_costs_nothing_and_does_not_overflow() {
    let found = faults(&[(0, Content::Bytes), (u64::MAX, Content::Bytes)], None, None);
    assert_eq!(found, [at(FaultCode::MissingSegment, "video/seg-1.m4s")]);
    let named = faults(&[(0, Content::Bytes)], Some(u64::MAX), None);
    assert_eq!(named, [at(FaultCode::MissingSegment, "video/seg-1.m4s")]);
}

#[test]
fn a_playlist_names_segments_in_any_directory_and_tags_name_none() {
    let playlist = b"#EXTM3U\r\n#EXT-X-MAP:URI=\"init.mp4\"\r\nseg-0.m4s\r\nvideo/seg-12.m4s\r\n#seg-99.m4s\nseg-x.m4s\nseg-3.m4s";
    assert_eq!(highest_in_playlist(&playlist[..]).unwrap(), Some(12));
    assert_eq!(highest_in_playlist(&b"#EXTM3U\n"[..]).unwrap(), None);
}

const PLAYLIST: &[u8] = include_bytes!("../../tests/fixtures/entry/video/ffmpeg-0.m3u8");

proptest! {
    #[test]
    fn a_changed_playlist_names_no_segment_that_is_not_in_it(playlist in mutated(PLAYLIST)) {
        if let Some(number) = highest_in_playlist(&*playlist).unwrap() {
            let name = layout::segment(number).into_bytes();
            prop_assert!(playlist.windows(name.len()).any(|part| part == name), "{number}");
        }
    }

    #[test]
    fn no_playlist_makes_the_reader_panic(playlist: Vec<u8>) {
        highest_in_playlist(&*playlist).unwrap();
    }

    #[test]
    fn every_segment_named_counts(numbers in prop::collection::vec(any::<u64>(), 1..20)) {
        let lines: Vec<String> = numbers.iter().map(|n| format!("#EXTINF:4.0,\nseg-{n}.m4s\n")).collect();
        let playlist = lines.concat();
        prop_assert_eq!(highest_in_playlist(playlist.as_bytes()).unwrap(), numbers.iter().copied().max());
    }
}
