//! One key's part of the root: the entry of that name, what is in the trash, and the two lockfiles.
//!
//! This is what the kernel does, in steps that other processes can come between. No rule of the protocol is
//! in here.

/// An inode. Numbers are never reused: the protocol compares the time of the last use with the number, and
/// nobody can reuse both.
pub type Ino = usize;

/// The initial entry, and one from each of three writers.
pub const INODES: usize = 4;

/// Segments of a whole entry. Two are enough for one to be missing.
pub const SEGMENTS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Segment {
    Absent,
    /// An encoder has it open.
    Half,
    Whole,
}

/// The directory of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    pub segments: [Segment; SEGMENTS],
    /// `.complete` exists.
    pub complete: bool,
    /// A segment is rotten, as `verify` would find. No promise covers damage from outside.
    pub damaged: bool,
    /// Number of the last use: the directory's mtime.
    pub used: u8,
    /// Number of the last write to a segment.
    pub written: u8,
    /// `video/` exists.
    pub has_video: bool,
}

impl Entry {
    pub const NEW: Self = Self {
        segments: [Segment::Absent; SEGMENTS],
        complete: false,
        damaged: false,
        used: 0,
        written: 0,
        has_video: false,
    };
    pub const PARTIAL: Self =
        Self { segments: [Segment::Whole, Segment::Absent], has_video: true, ..Self::NEW };
    pub const SEALED: Self =
        Self { segments: [Segment::Whole; SEGMENTS], complete: true, ..Self::PARTIAL };
    pub const DAMAGED: Self = Self { damaged: true, ..Self::SEALED };

    pub fn is_whole(self) -> bool {
        self.segments == [Segment::Whole; SEGMENTS]
    }

    /// Whether the directory itself is empty, so that another may be renamed over it.
    pub fn is_empty(self) -> bool {
        !self.has_video && !self.complete
    }
}

/// What renaming an entry does on this file system.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rename {
    Works,
    /// Returns 0 and leaves the source where it was, as was seen on mergerfs.
    LeavesSource,
    /// `EXDEV`, or no room for another name.
    Fails,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Disk {
    pub rename: Rename,
    /// What `{key}` leads to.
    pub name: Option<Ino>,
    /// Entries under their name or in the trash.
    pub entries: [Option<Entry>; INODES],
    made: Ino,
    /// What `.{key}.pin` leads to. An open lockfile of another number has link count 0.
    pub pin: Option<Ino>,
    made_pins: Ino,
    /// `.{key}.write` exists.
    pub has_write: bool,
}

impl Disk {
    pub fn new(rename: Rename, entry: Option<Entry>, has_lockfiles: bool) -> Self {
        let mut disk = Self {
            rename,
            name: None,
            entries: [None; INODES],
            made: 0,
            pin: None,
            made_pins: 0,
            has_write: has_lockfiles,
        };
        if let Some(entry) = entry {
            disk.make_directory();
            disk.entries[0] = Some(entry);
        }
        if has_lockfiles {
            disk.create_pin();
        }
        disk
    }

    /// `mkdir {key}`, of a name that is free.
    pub fn make_directory(&mut self) -> Ino {
        let ino = self.made;
        self.made += 1;
        self.entries[ino] = Some(Entry::NEW);
        self.name = Some(ino);
        ino
    }

    /// Creates `.{key}.pin`, which does not exist.
    pub fn create_pin(&mut self) {
        self.pin = Some(self.made_pins);
        self.made_pins += 1;
    }

    pub fn named(&self) -> Option<Entry> {
        self.name.and_then(|ino| self.entries[ino])
    }

    pub fn named_mut(&mut self) -> Option<&mut Entry> {
        self.name.and_then(|ino| self.entries[ino].as_mut())
    }

    /// Every entry that has left its name.
    pub fn trash(&self) -> impl Iterator<Item = Ino> {
        let (entries, name) = (self.entries, self.name);
        (0..INODES).filter(move |&ino| entries[ino].is_some() && name != Some(ino))
    }
}
