//! The functions whose steps the models take.

use std::fmt;
use std::fs;
use std::path::Path;

/// A function under `src/`, or what a program does that is not ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Call {
    /// As a trace shows it.
    name: &'static str,
    /// The file under `src/`; none for other programs.
    file: Option<&'static str>,
}

impl Call {
    const fn new(name: &'static str, file: &'static str) -> Self {
        Self { name, file: Some(file) }
    }

    const fn others(name: &'static str) -> Self {
        Self { name, file: None }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! calls {
    ($($id:ident = $call:expr;)*) => {
        $(pub const $id: Call = $call;)*
        /// Every call that a model can make.
        pub const ALL: &[Call] = &[$($id),*];
    };
}

calls! {
    // Lockfiles, rules 1, 2 and 8.
    PIN = Call::new("locks::pin", "locks/mod.rs");
    LOCK_FOR_REMOVAL = Call::new("locks::lock_for_removal", "locks/mod.rs");
    SETTLE = Call::new("locks::settle", "locks/mod.rs");
    PROBE = Call::new("locks::probe", "locks/mod.rs");
    WRITER = Call::new("locks::writer", "locks/mod.rs");
    OPEN_EXISTING = Call::new("open_existing", "locks/lockfile.rs");
    CREATE = Call::new("create", "locks/lockfile.rs");
    ACQUIRE = Call::new("acquire", "locks/lockfile.rs");
    // A daemon's side.
    LOOKUP = Call::new("daemon::lookup", "daemon/mod.rs");
    TOUCH = Call::new("daemon::touch", "daemon/pin.rs");
    START = Call::new("daemon::start", "daemon/mod.rs");
    MAKE_DIRECTORY = Call::new("daemon::make_directory", "daemon/mod.rs");
    MARK_COMPLETE = Call::new("daemon::mark_complete", "daemon/writer.rs");
    DISCARD = Call::new("daemon::discard", "daemon/writer.rs");
    REMOVE_PARTIAL = Call::new("daemon::remove_partial", "daemon/discard.rs");
    DISCARD_DAMAGED = Call::new("daemon::discard_damaged", "daemon/pin.rs");
    // A maintainer's side.
    DELETE_LEFTOVER_TRASH = Call::new("maintain::delete_leftover_trash", "maintain/mod.rs");
    SCAN = Call::new("cache::scan", "cache/view.rs");
    CHECK_ENTRY = Call::new("verify::check_entry", "verify/mod.rs");
    CHECK_UNUSED = Call::new("maintain::check_unused", "maintain/act.rs");
    RESCAN_UNCHANGED = Call::new("maintain::rescan_unchanged", "maintain/act.rs");
    RESCAN_LOCKED = Call::new("maintain::rescan_locked", "maintain/act.rs");
    CHECK_DAMAGED = Call::new("maintain::check_damaged", "maintain/verification.rs");
    // Removal, rules 4 to 6.
    RENAME_OUT = Call::new("removal::rename_out", "removal/rename.rs");
    IS_LEFT_BEHIND = Call::new("removal::is_left_behind", "removal/rename.rs");
    UNSEAL = Call::new("removal::unseal", "removal/in_place.rs");
    DELETE_IN_PLACE = Call::new("removal::delete_in_place", "removal/in_place.rs");
    TAKE_OUT = Call::new("removal::take_out", "removal/mod.rs");
    EMPTY_TRASH = Call::new("removal::empty_trash", "removal/mod.rs");
    // Removal on a full disk, rule 9.
    IS_UNSEALED = Call::new("removal::is_unsealed", "removal/in_place.rs");
    DELETE_LAST = Call::new("removal::delete_last", "removal/in_place.rs");
    RENAME_BACK = Call::new("removal::rename_back", "removal/rename.rs");
    // Other programs.
    SERVES = Call::others("serves");
    CLOSES = Call::others("closes");
    ENCODER = Call::others("encoder");
    WITHOUT_LOCKS = Call::others("without locks");
    UNLINKS = Call::others("unlinks");
}

#[test]
fn every_step_of_a_model_stands_for_a_function_that_exists() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for call in ALL {
        let Some(file) = call.file else { continue };
        let source = fs::read_to_string(sources.join(file)).expect(file);
        let function = call.name.rsplit("::").next().expect("a name");
        let is_there = [format!("fn {function}("), format!("fn {function}<")]
            .iter()
            .any(|definition| source.contains(definition));
        assert!(is_there, "src/{file} has no function {function}: bring the models up to date");
    }
}
