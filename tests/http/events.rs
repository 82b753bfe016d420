//! Every event of `net` reaches the HTTP handler or is used up.

use crate::net_events::assert_that_all_are_forwarded;

#[test]
fn the_file_that_forwards_implements_every_event() {
    assert_that_all_are_forwarded("src/http/forward.rs");
}
