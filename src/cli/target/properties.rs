//! Properties of addresses, for any text that is typed.

use proptest::prelude::*;

use super::*;

/// Text that is nearly an address, or any text.
fn typed() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        "",
        "[a-z0-9.%-]{1,12}",
        "[0-9a-f:]{2,12}",
        "\\[[0-9a-f:%]{0,8}\\]?",
        "[0-9]{1,3}(\\.[0-9]{1,3}){3}"
    ];
    let port = prop_oneof!["", ":[0-9]{0,6}", ":[+-][0-9]", ":[a-z]", "\\]?:[0-9]{2}"];
    prop_oneof![
        8 => (host, port).prop_map(|(host, port)| host + &port),
        1 => "unix:.{0,8}",
        1 => "[a-z]{0,4}://[a-z:0-9/]{0,8}",
        2 => ".{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_valid_address_can_be_shown_and_typed_again(text in typed()) {
        match Address::parse(&text) {
            Ok(address) => {
                if let Address::Tcp(host, port) = &address {
                    prop_assert!(!host.is_empty() && *port > 0);
                    prop_assert!(!host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/'));
                }
                prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
            }
            Err(why) => prop_assert!(!why.is_empty()),
        }
    }
}
