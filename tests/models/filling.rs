use crate::disk::{Entry, Rename};
use crate::model::Protocol;
use crate::party::Role::{self, *};
use crate::promise::Promise::*;
#[test]
fn every_promise_holds_full() {
    let casts: &[&[Role]] = &[&[Reader, Sweep], &[Writer,Sweep],&[Reader,Writer,Sweep],&[Writer,Writer,Sweep],&[Reader,Sweep,Sweep],&[Writer,Sweep,Sweep],&[Reader,Writer,Invalidate],&[Reader,Writer,Force]];
    for rename in [Rename::Works, Rename::LeavesSource, Rename::Fails] { println!("{rename:?}");
    for cast in casts {
      for ps in [&[PinnedIsNotDeleted][..], &[SealedIsWhole], &[SweepReachesLimit], &[ChangedIsKept, OwnTrashGoesFirst], &[PinnedKeepsItsName], &[ServedIsThere]] {
        let t = std::time::Instant::now();
        let m = Protocol::new(cast, &[None, Some(Entry::PARTIAL), Some(Entry::SEALED)], &[rename]).on_a_disk_that_fills();
        let e = m.examine(ps);
        println!("{cast:?} {ps:?} {} {:?}", e.states, t.elapsed());
        if let Some(t) = e.trace { println!("  {} {}", t.promise, t.lines.len()); if cast.len()<=2 {println!("    {}", t.lines.join("\n    ")); }}
      }
    }}
}
