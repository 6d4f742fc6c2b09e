//! What a test says of a trace.

#[track_caller]
pub fn assert_ends(trace: &[String], end: &[&str]) {
    let is_end = trace.len() >= end.len() && trace[trace.len() - end.len()..] == *end;
    assert!(is_end, "{trace:#?} does not end with {end:#?}");
}

/// Asserts that the trace has these steps in this order, among others.
#[track_caller]
pub fn assert_goes_through(trace: &[String], steps: &[&str]) {
    let mut rest = trace.iter();
    for step in steps {
        assert!(rest.any(|line| line == step), "{trace:#?} does not go through {steps:#?}");
    }
}
