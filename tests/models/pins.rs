use crate::disk::{Entry, Rename};
use crate::model::Protocol;
use crate::party::Role::{self, *};
use crate::promise::Promise::*;
#[test]
fn every_promise_holds() {
    let casts: &[&[Role]] = &[&[Reader, Writer, Sweep],&[Reader,Sweep,Sweep],&[Reader,Unlocked,Sweep],&[Writer,Writer,Sweep],&[Reader,Writer,Verify],&[Reader,Force,Sweep],&[Writer,Force,Reader],&[Reader,Tidier,Sweep],&[Repairer,Reader,Sweep],&[FailedWriter,Reader,Sweep],&[Writer,Verify,Sweep], &[Writer, Verify, Verify], &[Repairer, Writer, Verify], &[FailedWriter, Writer, Force]];
    for cast in casts {
        let t = std::time::Instant::now();
        let m = Protocol::new(cast, &[None, Some(Entry::PARTIAL), Some(Entry::SEALED), Some(Entry::DAMAGED)], &[Rename::Works, Rename::LeavesSource, Rename::Fails]);
        let e = m.examine(&[PinnedKeepsItsName, SealedIsWhole, ServedIsThere, ChangedIsKept, HealthyIsKept, SweepReachesLimit]);
        println!("{cast:?} {} {:?}", e.states, t.elapsed());
        if let Some(t) = e.trace { println!("{}\n  {}", t.promise, t.lines.join("\n  ")); }
    }
}
