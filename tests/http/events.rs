//! Every event of `net` reaches the HTTP handler, or the client, or is used up.

use crate::net_events::assert_that_all_are_forwarded;

#[test]
fn the_files_that_forward_implement_every_event() {
    assert_that_all_are_forwarded("src/http/forward.rs");
    assert_that_all_are_forwarded("src/http/client/forward.rs");
}
