//! Everyone who can publish in Redis can send anything to the nodes.

use super::vitals::MIB;
use super::*;

/// Pseudo-random bytes (xorshift).
fn noise(count: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count).map(move |_| {
        let len = (next() % 200) as usize;
        let head = match next() % 4 {
            0 => "".to_owned(),
            1 => format!("bucle1 {:016x} {} ", next() % 8, next() % 100),
            2 => format!("bucle1 {:016x} {} line lobby ", next() % 8, next()),
            _ => format!("bucle1 {:016x} 1 state ", next()),
        };
        head.into_bytes().into_iter().chain((0..len).map(|_| next() as u8)).collect()
    })
}

#[test]
fn garbage_on_the_channel_is_counted_and_ignored() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let nodes = nodes(redis.port(), 2);
    let [mut ana, mut bo] = members(&nodes, ["ana", "bo"]);
    let before = nodes[0].vitals().memory();
    publish(redis.port(), noise(5_000));
    publish(redis.port(), [vec![b'x'; 8 * 1024 * 1024], Vec::new()]);
    // States of nodes that do not exist, and askers that do not exist.
    let state = |node: u32| {
        let members: String = (0..200).map(|number| format!(" m{node}.{number} r{number}")).collect();
        format!("bucle1 {node:016x} 1 state 1 1{members}").into_bytes()
    };
    publish(redis.port(), (100..1_300).map(state));
    publish(redis.port(), (100..1_300).map(|node| format!("bucle1 {node:016x} 2 ask").into_bytes()));
    ana.say_at_last("still here", &mut bo);
    bo.say_at_last("so am I", &mut ana);
    let first = "a message on the channel bucle:chat:0 was ignored, number 1 so far: ";
    wait_until("the log says that a message was ignored", || nodes[0].log().contains(first));
    let log = nodes[0].log();
    assert!(log.lines().count() < 30, "a flood does not fill the log: {log}");
    // 1,024 nodes with 200 members each.
    let grown = nodes[0].vitals().memory().saturating_sub(before);
    eprintln!("the members of nodes that do not exist cost {grown} KiB");
    assert!(grown < 128 * MIB, "it has grown by {grown} KiB");
    // They are not heard again, and are gone after a lease. 200,000 names are not listed.
    let answer = ana.ask("/rooms", "-- rooms: ");
    assert!(answer.len() < 10_000, "{answer}");
    ana.wait_for_members(&["ana", "bo"]);
    wait_until("the nodes that do not exist are gone", || ana.ask("/rooms", "-- rooms: ") == "-- rooms: lobby (2)");
}

#[test]
fn messages_in_the_name_of_a_node_do_not_silence_it() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let nodes = nodes(redis.port(), 2);
    let [mut ana, mut bo] = members(&nodes, ["ana", "bo"]);
    // Its name is in the key of a nick.
    let get = "EVAL \"return redis.status_reply(redis.call('GET', KEYS[1]))\" 1 bucle:chat:0:nick:ana";
    let answer = ask_redis(redis.port(), get);
    let name = answer.strip_prefix('+').expect("a name");
    publish(redis.port(), [format!("bucle1 {name} {} line lobby forged", u64::MAX).into_bytes()]);
    bo.until("forged");
    ana.say("hola");
    assert_eq!(bo.line(), "ana: hola");
    bo.wait_for_members(&["ana", "bo"]);
}

#[test]
fn control_characters_in_a_line_of_another_node_are_not_sent_to_terminals() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    // Two nodes that know each other listen to the channel. Of one node alone a test does not know that.
    let nodes = nodes(redis.port(), 2);
    let [mut ana, _bo] = members(&nodes, ["ana", "bo"]);
    publish(redis.port(), [b"bucle1 00000000000000ff 1 line lobby x: \x1b[2J\r\n\xe2\x80\xaehola".to_vec()]);
    ana.until("x: ␛[2J␍␊\u{fffd}hola");
    publish(redis.port(), [b"bucle1 00000000000000ff 2 enter \x1b[2J lobby".to_vec()]);
    publish(redis.port(), [b"bucle1 00000000000000ff 3 line lobby end".to_vec()]);
    assert_eq!(ana.line(), "end");
}

#[test]
fn a_redis_that_refuses_keys_leaves_the_chat_running() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let nodes = nodes(redis.port(), 2);
    let [mut ana, mut bo] = members(&nodes, ["ana", "bo"]);
    // It has no memory for keys.
    assert_eq!(ask_redis(redis.port(), "CONFIG SET maxmemory 1"), "+OK");
    ana.say("/nick eva");
    ana.until("-- nicks cannot be changed now; try again later");
    ana.say("hola");
    bo.until("ana: hola");
    assert_eq!(ask_redis(redis.port(), "CONFIG SET maxmemory 0"), "+OK");
    ana.rename("eva");
    let warning = "Redis does not take the keys of nicks";
    wait_until("the log says that keys are not taken", || nodes[0].log().contains(warning));
    let log = nodes[0].log();
    assert_eq!(log.matches(warning).count(), 1, "{log}");
}
