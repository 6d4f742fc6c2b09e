//! The interface through which a long run reports its progress.

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Reading entries.
    Scan,
    /// Verifying entries.
    Verify,
    /// Deleting trash.
    Delete,
}

/// Receives progress, from several threads; the unit is one entry. `()` ignores it.
pub trait Progress: Sync {
    /// A task of `total` entries begins.
    fn start(&self, _task: Task, _total: usize) {}
    /// One more entry is done.
    fn step(&self) {}
    /// The task is over.
    fn finish(&self) {}
}

impl Progress for () {}
