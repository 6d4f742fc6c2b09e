//! The binary: the command line resolved into the library's terms, the library called, the result passed to
//! the report, in one short file per command.
//!
//! Here: combinations of options, the environment, exit statuses. Not here: decisions about entries (the
//! library), and sentences about them (`report`).

pub mod args;
#[cfg(test)]
mod docs;
mod exit;
mod report;

mod gc_orphans;
mod invalidate;
mod key;
mod library;
mod limits;
mod stats;
mod sweep;
mod verify;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::SystemTime;

use clap::FromArgMatches;
use hls_cache::maintain::{self, Notice, Options};
use hls_cache::plan::Policy;
use hls_cache::{Error, Operation, Root};

use self::args::{Cli, Command, Global, Help};
use self::exit::{Exit, UsageError};
use self::library::Librarian;
use self::report::outcome::Removal;
use self::report::{ErrorLine, Report, Screen, live::Live, progress::Bar, terminal::Terminal};

/// Reads the command line, runs the command and returns the exit status.
pub fn main(now: SystemTime) -> Exit {
    let parsed = args::command(Help::wanted(std::env::args_os()))
        .try_get_matches()
        .and_then(|mut found| Cli::from_arg_matches_mut(&mut found));
    match parsed {
        Ok(cli) => run(cli, now),
        Err(error) => Exit::of_clap(&error),
    }
}

/// Runs the command, and reports the error that stopped it, if any.
fn run(cli: Cli, now: SystemTime) -> Exit {
    let Cli { mut global, command } = cli;
    let name = match &command {
        Command::Key(_) => "key",
        Command::Verify(_) => "verify",
        Command::Sweep(_) => "sweep",
        Command::Stats(_) => "stats",
        Command::GcOrphans(_) => "gc-orphans",
        Command::Invalidate(_) => "invalidate",
    };
    let resolved = resolve(&mut global);
    let context = Context { global: &global, command: name, now };
    let result = resolved.map_err(Into::into).and_then(|()| match command {
        Command::Key(args) => key::run(&context, &args),
        Command::Verify(args) => verify::run(&context, args),
        Command::Sweep(args) => sweep::run(&context, args),
        Command::Stats(args) => stats::run(&context, &args),
        Command::GcOrphans(args) => gc_orphans::run(&context, &args),
        Command::Invalidate(args) => invalidate::run(&context, args),
    });
    result.unwrap_or_else(|error| {
        let (exit, sentence) = Exit::of_error(&error, name);
        report::report_error(&sentence);
        // `key` prints one object per key, and this error has no key.
        if exit == Exit::Error && global.json && name != "key" {
            let root = global.root.as_deref().unwrap_or_default();
            let line = ErrorLine::of(&error);
            let _ = report::print(|out| report::json::failure(out, name, root.as_ref(), &line));
        }
        exit
    })
}

/// Checks what clap does not: it compares options on one side of the command only, and an empty `--root`
/// is an error although an empty variable counts as unset.
fn resolve(global: &mut Global) -> Result<(), UsageError> {
    if global.quiet && global.verbose {
        return Err(UsageError::new("-q and -v cannot be used together; drop one"));
    }
    if global.root.as_ref().is_some_and(|root| root.is_empty()) {
        return Err(UsageError::new("--root is empty; name the cache's directory"));
    }
    if global.root.is_none() {
        global.root = std::env::var_os("HLS_CACHE_ROOT").filter(|root| !root.is_empty());
    }
    Ok(())
}

/// What all commands use.
pub struct Context<'a> {
    global: &'a Global,
    command: &'static str,
    now: SystemTime,
}

impl Context<'_> {
    fn root_name(&self) -> Result<&OsString, UsageError> {
        let root = self.global.root.as_ref();
        root.ok_or_else(|| UsageError::new("no cache named; give --root DIR or set HLS_CACHE_ROOT"))
    }

    fn open_root(&self) -> anyhow::Result<Root> {
        Ok(Root::open(self.root_name()?)?)
    }

    /// What a command needs after `--root` to mean the same cache; `None` where the environment names it.
    fn root_option(&self) -> Option<&OsStr> {
        let named = std::env::var_os("HLS_CACHE_ROOT");
        self.global.root.as_deref().filter(|root| named.as_deref() != Some(*root))
    }

    fn progress(&self) -> Bar {
        Bar::new(self.global.quiet)
    }

    fn screen<'a>(&self, root: &'a Root) -> Screen<'a> {
        let terminal = Terminal::of(&io::stdout(), self.global.color);
        Screen { root: root.path(), verbose: self.global.verbose, terminal }
    }

    /// Prints lines of the report for people during a run.
    fn live<'a>(&self, root: &'a Root, librarian: &'a Librarian) -> Live<'a> {
        let Global { json, quiet, .. } = *self.global;
        Live::new(self.progress(), (!json && !quiet).then(|| self.screen(root)), librarian)
    }

    /// Prints the report in the requested form, and its warnings and errors on standard error; returns the
    /// exit status. `printed_live` is the result of printing during the run.
    fn finish(
        &self,
        root: &Root,
        report: &impl Report,
        printed_live: io::Result<()>,
    ) -> anyhow::Result<Exit> {
        let Global { json, quiet, verbose, .. } = *self.global;
        let exit = report_diagnostics(root, report);
        if quiet
            && !json
            && let Some(finding) = report.finding()
        {
            report::report_warning(&finding);
        }
        let printed = report::print(|out| {
            if json {
                report::json::object(out, self.command, root, report, verbose)
            } else if quiet {
                Ok(())
            } else {
                report.human(out, &self.screen(root))
            }
        });
        printed_live.and(printed).map_err(output_error)?;
        Ok(exit)
    }
}

/// Prints the report's warnings and errors on standard error, and returns the exit status.
fn report_diagnostics(root: &Root, report: &impl Report) -> Exit {
    for warning in report.warnings() {
        report::report_warning(&warning);
    }
    let errors = report.errors(root.path());
    for error in &errors {
        report::report_error(error);
    }
    let errors = if errors.is_empty() { Exit::Done } else { Exit::Error };
    let finding = if report.has_finding() { Exit::Finding } else { Exit::Done };
    errors.max(finding)
}

/// Runs a policy that removes entries.
fn maintain(
    context: &Context<'_>,
    root: &Root,
    librarian: &Librarian,
    policy: &Policy,
    options: Options,
    notices: Vec<Notice>,
) -> anyhow::Result<Exit> {
    let live = context.live(root, librarian);
    let mut outcome = maintain::run(root, policy, options, context.now, &live)?;
    outcome.notices.splice(0..0, notices);
    let removal = Removal { outcome, librarian };
    if context.global.json && removal.lists_any(context.global.verbose) {
        // Before the warnings, which say what of the library could not be read.
        librarian.names();
    }
    context.finish(root, &removal, live.into_result())
}

fn output_error(reason: io::Error) -> Error {
    Error::new(Operation::Write, "standard output", reason)
}

/// The value of an environment variable; an empty one is unset.
fn environment<T: FromStr<Err: fmt::Display>>(name: &str) -> Result<Option<T>, UsageError> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = value.to_string_lossy();
    match text.parse() {
        Ok(value) => Ok(Some(value)),
        Err(reason) => {
            Err(UsageError::new(format!("invalid {name} '{}': {reason}", text.escape_debug())))
        }
    }
}
