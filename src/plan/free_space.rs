//! Evicting for `min_free`: how much to evict, when to read free space again, and when to give up.

use crate::root::Space;

/// Why `min_free` is not met, in bytes on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// What was missing before anything was evicted for it.
    pub needed: u64,
    /// What evicting for it gave back, by the file system's count.
    pub freed: u64,
    /// What the entries occupy that are left and that nothing protects.
    pub evictable: u64,
    /// Why eviction ended early, if it did.
    pub ended: Option<EndedEarly>,
}

/// Why eviction for `min_free` ended although entries were left that could go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedEarly {
    /// Less than half of what was evicted came back: snapshots, reflinks or hard links hold it.
    NothingComesBack,
    /// The next entry would have taken the cache below `min_budget`.
    MinBudget,
}

/// In bytes. When less than this was evicted, the freed space cannot be told from what other processes
/// write meanwhile: an encode writes about as much while an entry is deleted.
const MEASURABLE: u64 = 1 << 20;

/// How much space there is, and what evicting for `min_free` has given back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reclaim {
    /// The last reading of the file system's space, and what the entries removed since occupied.
    space: Space,
    removed_since: u64,
    /// The reading before the first eviction for `min_free`.
    start: Space,
    /// What the entries evicted for `min_free` occupied.
    evicted: u64,
    /// Space is read again when so much was evicted.
    measure_at: u64,
    ended: Option<EndedEarly>,
}

impl Reclaim {
    pub(super) fn new(space: Space) -> Self {
        Self {
            space,
            removed_since: 0,
            start: space,
            evicted: 0,
            measure_at: MEASURABLE,
            ended: None,
        }
    }

    /// The space there should be by now, if every removed byte comes back.
    pub(super) fn expected(&self) -> Space {
        Space {
            available: self.space.available.saturating_add(self.removed_since),
            free: self.space.free.saturating_add(self.removed_since),
            ..self.space
        }
    }

    /// Whether `target` bytes should be available by now.
    pub(super) fn is_met(&self, target: u64) -> bool {
        self.expected().available >= target
    }

    /// Whether something was removed that the last reading does not show.
    pub(super) fn is_outdated(&self) -> bool {
        self.removed_since > 0
    }

    /// Starts counting evictions for `min_free`, unless it has: a plan that is resumed comes here again.
    pub(super) fn begin(&mut self) {
        if self.evicted == 0 {
            self.start = self.space;
        }
    }

    /// The last reading.
    pub(super) fn space(&self) -> Space {
        self.space
    }

    /// An entry that occupied so much was removed, and whether it was for `min_free`.
    pub(super) fn removed(&mut self, allocated: u64, for_min_free: bool) {
        self.removed_since = self.removed_since.saturating_add(allocated);
        if for_min_free {
            self.evicted = self.evicted.saturating_add(allocated);
        }
    }

    /// The next entry would take the cache below `min_budget`.
    pub(super) fn end_at_min_budget(&mut self) {
        self.ended = Some(EndedEarly::MinBudget);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Takes a new reading, and ends eviction if too little of the evicted space became free.
    pub(super) fn measured(&mut self, space: Space) {
        self.space = space;
        self.removed_since = 0;
        if self.evicted >= MEASURABLE {
            self.measure_at = self.evicted.saturating_mul(2);
            let came_back = space.free.saturating_sub(self.start.free);
            if came_back < self.evicted / 2 {
                self.ended = Some(EndedEarly::NothingComesBack);
            }
        }
    }

    /// Whether to read the free space before evicting more for `target`: after the first entry, since that
    /// may free nothing; whenever the evicted bytes have doubled; and, where the last reading was zero,
    /// before the target counts as met, since zero can be any amount below root's reserve.
    pub(super) fn is_measuring_due(&self, target: u64) -> bool {
        let is_doubtful = self.space.available == 0 && self.is_met(target);
        self.is_outdated() && (self.evicted >= self.measure_at || is_doubtful)
    }

    /// The figures of a target that is not met, where entries of `evictable` bytes could still go.
    pub(super) fn shortage(&self, target: u64, evictable: u64) -> Shortage {
        let now = self.expected();
        let freed = if self.evicted > 0 { now.free.saturating_sub(self.start.free) } else { 0 };
        Shortage {
            needed: target.saturating_sub(self.start.available),
            freed,
            evictable,
            ended: self.ended,
        }
    }
}
