//! Actions that need no loop: addresses and block lists.

use bucle::net::{AddressError, BlockList, Family, SocketAddress, SocketAddressOptions, is_ip};
use serde_json::Value;

use crate::runner::Runner;
use crate::scenario::Action;
use crate::trace::quote_text;

impl Runner {
    /// Runs `action` if it belongs to this file.
    pub fn pure_action(&self, action: &Action) -> bool {
        match action.name.as_str() {
            "is_ip" => {
                let text = action.name_of("text");
                self.line("net", &format!("is_ip {} -> {}", quote_text(text), is_ip(text)));
            }
            "block_list" => {
                self.state().block_lists.insert(action.name_of("as").to_owned(), BlockList::new());
            }
            "block_address" => self.block(action, |list, family| list.add_address(action.name_of("address"), family)),
            "block_range" => {
                self.block(action, |list, family| {
                    list.add_range(action.name_of("start"), action.name_of("end"), family)
                });
            }
            "block_subnet" => {
                let prefix = u8::try_from(action.count("prefix").unwrap_or(0)).unwrap_or(u8::MAX);
                self.block(action, |list, family| list.add_subnet(action.name_of("net"), prefix, family));
            }
            "block_check" => {
                let address = action.name_of("address");
                let family = family(action.get("family"));
                let is_blocked = self.with_block_list(action, |list| list.check(address, family));
                self.line(action.name_of("on"), &format!("check {address} {} -> {is_blocked}", word(family)));
            }
            "socket_address" => match socket_address(action.get("options")) {
                Ok(address) => {
                    let (text, port, family) = (address.address(), address.port(), word(address.family()));
                    let label = address.flowlabel();
                    let shown = format!("address={text} port={port} family={family} flowlabel={label}");
                    self.line("net", &format!("socket_address -> {shown}"));
                }
                Err(code) => self.refused("net", "socket_address", code),
            },
            _ => return false,
        }
        true
    }

    fn block(&self, action: &Action, add: impl FnOnce(&mut BlockList, Family) -> Result<(), AddressError>) {
        if let Err(error) = self.with_block_list(action, |list| add(list, family(action.get("family")))) {
            self.refused(action.name_of("on"), &action.name, error.code());
        }
    }

    fn with_block_list<R>(&self, action: &Action, f: impl FnOnce(&mut BlockList) -> R) -> R {
        let name = action.name_of("on");
        f(self.state().block_lists.get_mut(name).unwrap_or_else(|| panic!("scenario error: no block list {name}")))
    }
}

/// `Err` is an error code. Node checks the types and ranges of the numbers first; here the types of the arguments do.
fn socket_address(options: &Value) -> Result<SocketAddress, &'static str> {
    let number = |name: &str| options.get(name).map_or(Some(0), Value::as_u64);
    let port = number("port").and_then(|port| u16::try_from(port).ok()).ok_or("ERR_SOCKET_BAD_PORT")?;
    let flowlabel = number("flowlabel").and_then(|label| u32::try_from(label).ok()).ok_or("ERR_OUT_OF_RANGE")?;
    let options = SocketAddressOptions {
        address: options["address"].as_str(),
        port,
        family: family(&options["family"]),
        flowlabel,
    };
    SocketAddress::new(options).map_err(|error| error.code())
}

fn family(value: &Value) -> Family {
    if value == "ipv6" { Family::V6 } else { Family::V4 }
}

fn word(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}
