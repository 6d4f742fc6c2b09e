//! Metrics in Prometheus' text format, on a stream or in a file of `node_exporter`'s textfile collector.

use std::fmt::Display;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use hls_cache::cache::events::{EventKind, Summary, SweepEvent};
use hls_cache::history::Evictions;
use hls_cache::plan::Totals;
use hls_cache::stats::Stats;
use hls_cache::units::age;
use hls_cache::{Error, Escaped, Operation};

/// Prints the metrics. Every sample has the root as a label: two caches of one host, each with a file in
/// the collector's directory, would otherwise give one metric two values, which the collector refuses.
pub fn write(
    out: &mut dyn Write,
    root: &Path,
    stats: &Stats,
    limit: Option<u64>,
    now: SystemTime,
    evictions: &Evictions,
) -> io::Result<()> {
    let mut metrics = Metrics { out, root: label_value(&Escaped::new(root).to_string()) };
    let kinds = [("sealed", stats.sealed), ("partial", stats.partial)];
    let by_state =
        |of: fn(Totals) -> u64| kinds.map(|(state, totals)| ("state", state, of(totals)));
    metrics.labelled("entries", "gauge", "Entries.", &by_state(|totals| totals.entries))?;
    metrics.labelled(
        "bytes",
        "gauge",
        "Sum of the sizes of all files of entries.",
        &by_state(|totals| totals.bytes),
    )?;
    metrics.labelled(
        "allocated_bytes",
        "gauge",
        "Disk space that the entries occupy.",
        &by_state(|totals| totals.allocated_bytes),
    )?;
    metrics.gauge("files", "Files in entries.", Some(stats.files))?;
    for (name, what, totals) in [
        ("pinned", "entries that a process has pinned", stats.pinned),
        ("open", "entries that another process has open and that are not pinned", stats.open),
        ("writing", "partial entries being encoded, and neither pinned nor open", stats.writing),
        ("read", "entries that were read lately and are in no other use", stats.read),
        ("trash", "removed entries whose files are not deleted yet", stats.trash),
    ] {
        let count = format!("Number of {what}.");
        metrics.gauge(&format!("{name}_entries"), &count, Some(totals.entries))?;
        metrics.gauge(
            &format!("{name}_bytes"),
            &format!("Bytes of {what}."),
            Some(totals.bytes),
        )?;
    }
    metrics.gauge(
        "foreign",
        "Names in the root that are not part of the cache.",
        Some(stats.foreign.len()),
    )?;
    metrics.gauge(
        "disk_bytes",
        "Size of the file system that the cache is on.",
        stats.space.map(|space| space.total),
    )?;
    metrics.gauge(
        "disk_free_bytes",
        "Bytes of that file system that a user who is not root can still write.",
        stats.space.map(|space| space.available),
    )?;
    let budget = "Budget, from --max-size, HLS_CACHE_MAX_SIZE or the last sweep in the event log.";
    metrics.gauge("limit_bytes", budget, limit)?;
    let ago = |time: Option<SystemTime>| time.map(|time| age(now, time).as_secs());
    metrics.gauge(
        "oldest_use_age_seconds",
        "Time since the last use of the least recently used entry.",
        ago(stats.oldest_used()),
    )?;
    metrics.gauge(
        "newest_use_age_seconds",
        "Time since the last use of the most recently used entry.",
        ago(stats.newest_used()),
    )?;
    write_event_log(&mut metrics, &stats.events)?;
    metrics.gauge(
        "scan_errors",
        "Errors of this scan; no other metric includes what could not be read.",
        Some(stats.errors.len()),
    )?;
    metrics.gauge(
        "unreadable_entries",
        "Entries that could not be read.",
        Some(stats.unreadable),
    )?;
    metrics.gauge(
        "mounted_entries",
        "Entries skipped because something is mounted on or under them.",
        Some(stats.mounted),
    )?;
    write_evictions(&mut metrics, stats.events.last_sweep, evictions)
}

/// The totals of the event log.
fn write_event_log(metrics: &mut Metrics<'_>, events: &Summary) -> io::Result<()> {
    let (hits, misses) = (events.all.map(|all| all.hits), events.all.map(|all| all.misses));
    metrics.counter("hits_total", "Hits in the event log.", hits)?;
    metrics.counter("misses_total", "Misses in the event log.", misses)?;
    let removals = EventKind::REMOVALS.map(EventKind::code);
    let by_event = |of: &dyn Fn(usize) -> u64| {
        std::array::from_fn::<_, 3, _>(|index| ("event", removals[index], of(index)))
    };
    metrics.labelled(
        "removals_total",
        "counter",
        "Removals in the event log.",
        &by_event(&|index| events.removals[index].count),
    )?;
    metrics.labelled(
        "removed_bytes_total",
        "counter",
        "Bytes of the removals in the event log.",
        &by_event(&|index| events.removals[index].bytes),
    )?;
    metrics.gauge(
        "last_removal_timestamp_seconds",
        "Time of the last removal in the event log.",
        events.last_removal,
    )?;
    metrics.gauge(
        "last_damaged_removal_timestamp_seconds",
        "Time of the last removal of a damaged entry in the event log.",
        events.last_damaged_removal,
    )?;
    metrics.counter(
        "events_skipped_total",
        "Unparsable lines in the event log.",
        Some(events.skipped),
    )
}

/// What evictions cost, and the last run of them.
fn write_evictions(
    metrics: &mut Metrics<'_>,
    last_sweep: Option<SweepEvent>,
    evictions: &Evictions,
) -> io::Result<()> {
    metrics.gauge(
        "evictions_regretted",
        "Evictions in the event log whose entry was missed later or is there again.",
        Some(evictions.regretted),
    )?;
    // No summary: that would need their sum, which says nothing here.
    if let Some(age) = evictions.age {
        metrics.labelled(
            "evicted_age_seconds",
            "gauge",
            "Time since the last use at the evictions in the event log.",
            &[("statistic", "least", age.least), ("statistic", "median", age.median)],
        )?;
    }
    metrics.gauge(
        "last_sweep_timestamp_seconds",
        "Time of the last sweep in the event log.",
        last_sweep.map(|sweep| sweep.time),
    )?;
    metrics.gauge(
        "last_sweep_exit_status",
        "Exit status of the last sweep in the event log: 0 done, 1 errors, 3 a limit is not met.",
        last_sweep.and_then(|sweep| sweep.exit),
    )
}

struct Metrics<'a> {
    out: &'a mut dyn Write,
    root: String,
}

impl Metrics<'_> {
    /// A gauge, omitted if unknown.
    fn gauge(&mut self, name: &str, help: &str, value: Option<impl Display>) -> io::Result<()> {
        self.single(name, "gauge", help, value)
    }

    /// A counter, omitted if unknown. Removing the event log looks like a restart.
    fn counter(&mut self, name: &str, help: &str, value: Option<u64>) -> io::Result<()> {
        self.single(name, "counter", help, value)
    }

    fn single(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        value: Option<impl Display>,
    ) -> io::Result<()> {
        let Some(value) = value else { return Ok(()) };
        self.declare(name, kind, help)?;
        writeln!(self.out, "hls_cache_{name}{{root=\"{}\"}} {value}", self.root)
    }

    fn labelled(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: &[(&str, &str, u64)],
    ) -> io::Result<()> {
        self.declare(name, kind, help)?;
        for (label, value, sample) in samples {
            let root = &self.root;
            writeln!(self.out, "hls_cache_{name}{{root=\"{root}\",{label}=\"{value}\"}} {sample}")?;
        }
        Ok(())
    }

    fn declare(&mut self, name: &str, kind: &str, help: &str) -> io::Result<()> {
        writeln!(self.out, "# HELP hls_cache_{name} {help}")?;
        writeln!(self.out, "# TYPE hls_cache_{name} {kind}")
    }
}

/// The format's escapes, except for line breaks, which [`Escaped`] has replaced.
fn label_value(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Writes the metrics to `file` atomically: a reader sees the old or the new ones, and a failure leaves the
/// old. Replaces a symlink of that name, never follows it.
pub fn replace(file: &Path, metrics: &[u8]) -> Result<(), Error> {
    try_replace(file, metrics).map_err(|reason| Error::new(Operation::WriteMetrics, file, reason))
}

fn try_replace(file: &Path, metrics: &[u8]) -> io::Result<()> {
    if let Some(what) = why_irreplaceable(file) {
        return Err(io::Error::other(what));
    }
    let directory = match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(io::ErrorKind::IsADirectory.into()),
    };
    // No `.prom` at the end, so that the collector does not read an unfinished file.
    let mut beside =
        tempfile::Builder::new().prefix(".hls-cache.").suffix(".tmp").tempfile_in(directory)?;
    beside.write_all(metrics)?;
    // Readable whatever the umask of root's cron: node_exporter runs as another user.
    beside.as_file().set_permissions(Permissions::from_mode(0o644))?;
    // A full disk must fail here, not after the rename.
    beside.as_file().sync_all()?;
    beside.persist(file)?;
    Ok(())
}

/// The reason not to replace `file`, if any: renaming onto `/dev/null` would destroy it for all processes.
fn why_irreplaceable(file: &Path) -> Option<&'static str> {
    let special = |kind: fs::FileType| {
        kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket()
    };
    if fs::metadata(file).is_ok_and(|found| special(found.file_type()))
        || fs::read_link(file).is_ok_and(|target| target.starts_with("/proc"))
    {
        return Some(
            "it is not a regular file; name another FILE, or print the metrics with --prometheus",
        );
    }
    None
}
