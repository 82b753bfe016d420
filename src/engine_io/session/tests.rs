use super::*;

const TIMES: Times = Times {
    ping_interval: Duration::from_secs(25),
    ping_timeout: Duration::from_secs(20),
    upgrade_timeout: Duration::from_secs(10),
};

fn packet(kind: PacketType, text: &str) -> Packet<'_> {
    Packet { kind, data: Data::Text(text) }
}

fn polling(now: Instant, revision: Revision) -> Machine {
    Machine::new(now, revision, Transport::Polling, &TIMES)
}

fn after(now: Instant, secs: f64) -> Instant {
    now + Duration::from_secs_f64(secs)
}

#[test]
fn revision_4_pings_an_interval_after_the_last_pong() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V4);
    assert_eq!(machine.deadline(), after(start, 25.0));
    assert_eq!(machine.expire(after(start, 24.9), &TIMES), None);
    assert_eq!(machine.expire(after(start, 25.0), &TIMES), Some(Due::Ping));
    assert_eq!(machine.expire(after(start, 25.0), &TIMES), None);
    assert_eq!(machine.deadline(), after(start, 45.0));
    assert_eq!(machine.receive(after(start, 30.0), &packet(PacketType::Pong, ""), &TIMES), Reaction::None);
    assert_eq!(machine.deadline(), after(start, 55.0));
}

#[test]
fn revision_4_ends_when_a_ping_has_no_answer() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V4);
    assert_eq!(machine.expire(after(start, 25.0), &TIMES), Some(Due::Ping));
    assert_eq!(machine.expire(after(start, 44.9), &TIMES), None);
    assert!(!machine.is_overdue(after(start, 44.9)));
    assert!(machine.is_overdue(after(start, 45.0)));
    assert_eq!(machine.expire(after(start, 45.0), &TIMES), Some(Due::PingTimeout));
}

#[test]
fn a_ping_that_is_sent_late_leaves_time_for_the_pong() {
    for (late, ends) in [(0.5, 45.0), (5.0, 45.0), (10.0, 50.0), (1000.0, 1040.0)] {
        let start = Instant::now();
        let mut machine = polling(start, Revision::V4);
        assert_eq!(machine.expire(after(start, 25.0 + late), &TIMES), Some(Due::Ping));
        assert_eq!(machine.deadline(), after(start, ends), "{late} s late");
    }
}

#[test]
fn the_first_packet_after_a_ping_extends_the_time_for_its_pong_once() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V4);
    assert!(!machine.awaits_pong());
    assert_eq!(machine.expire(after(start, 25.0), &TIMES), Some(Due::Ping));
    assert!(machine.awaits_pong());
    let message = packet(PacketType::Message, "hola");
    assert_eq!(machine.receive(after(start, 44.0), &message, &TIMES), Reaction::Message(Data::Text("hola")));
    assert_eq!(machine.deadline(), after(start, 64.0));
    machine.receive(after(start, 60.0), &message, &TIMES);
    assert_eq!(machine.expire(after(start, 63.9), &TIMES), None);
    assert_eq!(machine.expire(after(start, 64.0), &TIMES), Some(Due::PingTimeout));
}

#[test]
fn the_time_for_each_pong_can_be_extended() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V4);
    let message = packet(PacketType::Message, "hola");
    for ping in [25.0, 60.0] {
        assert_eq!(machine.expire(after(start, ping), &TIMES), Some(Due::Ping));
        machine.receive(after(start, ping + 5.0), &message, &TIMES);
        assert_eq!(machine.deadline(), after(start, ping + 25.0));
        machine.receive(after(start, ping + 10.0), &packet(PacketType::Pong, ""), &TIMES);
        assert_eq!(machine.deadline(), after(start, ping + 35.0));
    }
}

#[test]
fn messages_before_a_ping_change_nothing() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V4);
    machine.receive(after(start, 24.0), &packet(PacketType::Message, "hola"), &TIMES);
    assert_eq!(machine.deadline(), after(start, 25.0));
}

#[test]
fn messages_are_no_sign_of_life_in_revision_3() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V3);
    machine.receive(after(start, 44.0), &packet(PacketType::Message, "hola"), &TIMES);
    assert_eq!(machine.expire(after(start, 45.0), &TIMES), Some(Due::PingTimeout));
}

#[test]
fn revision_3_answers_pings_and_ends_after_silence() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V3);
    assert_eq!(machine.deadline(), after(start, 45.0));
    let ping = packet(PacketType::Ping, "abc");
    assert_eq!(machine.receive(after(start, 40.0), &ping, &TIMES), Reaction::Pong(Data::Text("abc")));
    assert_eq!(machine.expire(after(start, 84.9), &TIMES), None);
    assert_eq!(machine.expire(after(start, 85.0), &TIMES), Some(Due::PingTimeout));
}

#[test]
fn a_heartbeat_in_the_wrong_direction_ends_the_session() {
    let start = Instant::now();
    let refused = Reaction::Refused("invalid heartbeat direction");
    assert_eq!(polling(start, Revision::V4).receive(start, &packet(PacketType::Ping, ""), &TIMES), refused);
    assert_eq!(polling(start, Revision::V3).receive(start, &packet(PacketType::Pong, ""), &TIMES), refused);
}

#[test]
fn a_close_packet_ends_the_session_and_others_are_ignored() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V4);
    for kind in [PacketType::Open, PacketType::Upgrade, PacketType::Noop] {
        assert_eq!(machine.receive(start, &packet(kind, ""), &TIMES), Reaction::None);
    }
    assert_eq!(machine.receive(start, &packet(PacketType::Close, ""), &TIMES), Reaction::Closed);
}

#[test]
fn an_upgrade_is_probed_and_then_carried_out() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V4);
    assert!(machine.begin_upgrade(start, &TIMES));
    assert_eq!(machine.receive_probe(start, &packet(PacketType::Ping, "probe")), ProbeReaction::Answer);
    assert_eq!(machine.transport(), Transport::Polling, "until the client confirms");
    assert_eq!(machine.receive_probe(start, &packet(PacketType::Upgrade, "")), ProbeReaction::Upgraded);
    assert_eq!((machine.transport(), machine.is_upgrading()), (Transport::WebSocket, false));
}

#[test]
fn polls_are_released_again_and_again_during_an_upgrade() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V4);
    assert!(machine.begin_upgrade(start, &TIMES));
    assert_eq!(machine.expire(after(start, 1.0), &TIMES), None, "not before the probe");
    machine.receive_probe(after(start, 1.0), &packet(PacketType::Ping, "probe"));
    for tenths in 1..5 {
        let now = after(start, 1.0 + f64::from(tenths) * 0.1);
        assert_eq!(machine.expire(now, &TIMES), Some(Due::ReleasePoll));
        assert_eq!(machine.expire(now, &TIMES), None);
    }
}

#[test]
fn an_upgrade_that_takes_too_long_leaves_polling_alive() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V4);
    assert!(machine.begin_upgrade(start, &TIMES));
    assert_eq!(machine.deadline(), after(start, 10.0));
    assert_eq!(machine.expire(after(start, 10.0), &TIMES), Some(Due::UpgradeTimeout));
    assert_eq!((machine.transport(), machine.is_upgrading()), (Transport::Polling, false));
    assert_eq!(machine.expire(after(start, 10.0), &TIMES), None);
    assert!(machine.begin_upgrade(after(start, 11.0), &TIMES), "another attempt is welcome");
}

#[test]
fn an_upgrade_whose_connection_is_gone_leaves_polling_alive() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V4);
    assert!(machine.begin_upgrade(start, &TIMES));
    machine.end_upgrade();
    assert_eq!((machine.transport(), machine.is_upgrading()), (Transport::Polling, false));
    assert_eq!(machine.expire(after(start, 10.0), &TIMES), None, "the upgrade has no limit any more");
    assert!(machine.begin_upgrade(after(start, 11.0), &TIMES), "another attempt is welcome");
}

#[test]
fn another_packet_on_the_probing_connection_ends_the_upgrade() {
    let start = Instant::now();
    let others =
        [(PacketType::Message, "x"), (PacketType::Ping, ""), (PacketType::Ping, "other"), (PacketType::Pong, "")];
    for (kind, text) in others {
        let mut machine = polling(start, Revision::V4);
        assert!(machine.begin_upgrade(start, &TIMES));
        assert_eq!(machine.receive_probe(start, &packet(kind, text)), ProbeReaction::Close, "{kind:?} {text}");
        assert!(!machine.is_upgrading());
    }
}

#[test]
fn a_second_websocket_is_closed() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V4);
    assert!(machine.begin_upgrade(start, &TIMES));
    assert!(!machine.begin_upgrade(start, &TIMES), "during an upgrade");
    machine.receive_probe(start, &packet(PacketType::Upgrade, ""));
    assert!(!machine.begin_upgrade(start, &TIMES), "after an upgrade");
    let mut direct = Machine::new(start, Revision::V4, Transport::WebSocket, &TIMES);
    assert!(!direct.begin_upgrade(start, &TIMES), "a session that began with one");
}

#[test]
fn the_heartbeat_goes_on_during_an_upgrade() {
    let start = Instant::now();
    let mut machine = polling(start, Revision::V4);
    assert!(machine.begin_upgrade(after(start, 20.0), &TIMES));
    assert_eq!(machine.expire(after(start, 25.0), &TIMES), Some(Due::Ping));
    assert_eq!(machine.deadline(), after(start, 30.0), "the upgrade's limit");
    machine.receive_probe(after(start, 26.0), &packet(PacketType::Upgrade, ""));
    assert_eq!(machine.receive(after(start, 27.0), &packet(PacketType::Pong, ""), &TIMES), Reaction::None);
    assert_eq!(machine.deadline(), after(start, 52.0));
}
