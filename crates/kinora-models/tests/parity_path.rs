//! Tells the table of `docs/parity.md` which kernels its numbers were made with.

// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

use kinora_kernels::Path;

#[test]
fn the_path_of_the_kernels_is_one_that_runs_here() {
    let path = Path::active().unwrap();
    assert!(path.is_available());
    kinora_testkit::parity_note("kernels", path.name());
}
