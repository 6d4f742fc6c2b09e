//! What is delivered beside the program agrees with it: the README, and the units.
#![allow(
    clippy::disallowed_methods,
    reason = "the README's cache is made and swept, and its ages count from now"
)]

#[path = "../../examples/quick_start/cache.rs"]
mod cache;
mod docs;
mod layers;
#[path = "../common/need.rs"]
mod need;
mod package;
mod promises;
mod systemd_units;

use std::path::Path;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
