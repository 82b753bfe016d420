use super::*;

const SECOND: Duration = Duration::from_secs(1);
const OPEN: &str =
    r#"{"sid":"s1","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}"#;

fn packet(kind: PacketType, text: &str) -> Packet<'_> {
    Packet { kind, data: Data::Text(text) }
}

fn opening(now: Instant, revision: Revision) -> Machine {
    Machine::new(now, revision, Transport::Polling, 20 * SECOND, 10 * SECOND)
}

fn opened(now: Instant, revision: Revision) -> Machine {
    let mut machine = opening(now, revision);
    let reaction = machine.receive(now, &packet(PacketType::Open, OPEN));
    assert!(matches!(reaction, Reaction::Opened(open) if open.sid == "s1" && open.max_payload == Some(1000)));
    assert!(machine.is_open());
    machine
}

#[test]
fn the_first_packet_must_be_a_good_open_packet() {
    let now = Instant::now();
    let long = format!(r#"{{"sid":"{}","upgrades":[],"pingInterval":1,"pingTimeout":1}}"#, "x".repeat(257));
    let table = [
        (PacketType::Message, "hola"),
        (PacketType::Ping, ""),
        (PacketType::Pong, "probe"),
        (PacketType::Upgrade, ""),
        (PacketType::Open, ""),
        (PacketType::Open, "{}"),
        (PacketType::Open, r#"{"sid":"","upgrades":[],"pingInterval":1,"pingTimeout":1}"#),
        (PacketType::Open, r#"{"sid":"a","upgrades":[],"pingInterval":-1,"pingTimeout":1}"#),
        (PacketType::Open, &long),
    ];
    for (kind, text) in table {
        let mut machine = opening(now, Revision::V4);
        assert!(matches!(machine.receive(now, &packet(kind, text)), Reaction::Refused(_)), "{kind:?} {text}");
    }
    let mut machine = opening(now, Revision::V4);
    assert_eq!(machine.receive(now, &packet(PacketType::Noop, "")), Reaction::None);
    assert_eq!(machine.receive(now, &packet(PacketType::Close, "")), Reaction::Closed);
    assert!(!machine.is_open());
}

#[test]
fn a_second_open_packet_is_refused() {
    let now = Instant::now();
    let mut machine = opened(now, Revision::V4);
    assert!(matches!(machine.receive(now, &packet(PacketType::Open, OPEN)), Reaction::Refused(_)));
}

#[test]
fn a_server_that_opens_no_session_is_given_up() {
    let now = Instant::now();
    let mut machine = opening(now, Revision::V4);
    assert_eq!(machine.deadline(), Some(now + 20 * SECOND));
    assert_eq!(machine.expire(now + 19 * SECOND), None);
    assert_eq!(machine.expire(now + 20 * SECOND), Some(Due::OpenTimeout));
    let patient = Machine::new(now, Revision::V4, Transport::Polling, Duration::ZERO, SECOND);
    assert_eq!(patient.deadline(), None);
}

#[test]
fn revision_4_answers_pings_and_expects_the_next_one() {
    let now = Instant::now();
    let mut machine = opened(now, Revision::V4);
    assert_eq!(machine.deadline(), Some(now + 45 * SECOND));
    let later = now + 40 * SECOND;
    assert_eq!(machine.receive(later, &packet(PacketType::Message, "x")), Reaction::Message(Data::Text("x")));
    assert_eq!(machine.deadline(), Some(now + 45 * SECOND), "a message is no heartbeat");
    assert_eq!(machine.receive(later, &packet(PacketType::Ping, "p")), Reaction::Pong(Data::Text("p")));
    assert_eq!(machine.deadline(), Some(later + 45 * SECOND));
    assert_eq!(machine.receive(later, &packet(PacketType::Pong, "")), Reaction::None);
    assert!(!machine.is_overdue(later + 44 * SECOND) && machine.is_overdue(later + 45 * SECOND));
    assert_eq!(machine.expire(later + 44 * SECOND), None);
    assert_eq!(machine.expire(later + 45 * SECOND), Some(Due::PingTimeout));
}

#[test]
fn revision_3_sends_pings_and_expects_pongs() {
    let now = Instant::now();
    let mut machine = opened(now, Revision::V3);
    assert_eq!(machine.deadline(), Some(now + 25 * SECOND));
    assert_eq!(machine.expire(now + 24 * SECOND), None);
    let pinged = now + 25 * SECOND;
    assert_eq!(machine.expire(pinged), Some(Due::Ping));
    assert_eq!(machine.expire(pinged), None, "one ping at a time");
    assert_eq!(machine.receive(pinged + SECOND, &packet(PacketType::Pong, "")), Reaction::None);
    assert_eq!(machine.deadline(), Some(pinged + 26 * SECOND));
    let pinged = pinged + 26 * SECOND;
    assert_eq!(machine.expire(pinged), Some(Due::Ping));
    machine.receive(pinged + 19 * SECOND, &packet(PacketType::Message, "much"));
    assert_eq!(machine.expire(pinged + 20 * SECOND), None, "data is arriving");
    assert_eq!(machine.expire(pinged + 39 * SECOND), Some(Due::PingTimeout));
}

#[test]
fn times_of_a_server_are_limited() {
    let now = Instant::now();
    let open = format!(r#"{{"sid":"a","upgrades":[],"pingInterval":{0},"pingTimeout":{0}}}"#, u64::MAX);
    for revision in [Revision::V3, Revision::V4] {
        let mut machine = opening(now, revision);
        assert!(matches!(machine.receive(now, &packet(PacketType::Open, &open)), Reaction::Opened(_)));
        assert!(machine.deadline() <= Some(now + 2 * LONGEST));
    }
}

#[test]
fn an_upgrade_waits_until_no_request_is_under_way() {
    let now = Instant::now();
    let mut machine = opened(now, Revision::V4);
    machine.begin_upgrade(now);
    assert!(machine.may_poll() && !machine.is_pausing());
    assert_eq!(machine.receive_probe(&packet(PacketType::Pong, "probe")), ProbeReaction::Pause);
    assert!(!machine.may_poll() && machine.is_pausing());
    machine.finish_upgrade();
    assert_eq!((machine.transport(), machine.is_pausing(), machine.may_poll()), (Transport::WebSocket, false, false));
    assert_eq!(machine.deadline(), Some(now + 45 * SECOND));
}

#[test]
fn a_failed_upgrade_leaves_polling_alive() {
    let now = Instant::now();
    let wrong = [
        packet(PacketType::Pong, ""),
        packet(PacketType::Ping, "probe"),
        packet(PacketType::Message, "probe"),
        packet(PacketType::Close, ""),
    ];
    for packet in wrong {
        let mut machine = opened(now, Revision::V4);
        machine.begin_upgrade(now);
        assert_eq!(machine.receive_probe(&packet), ProbeReaction::Fail, "{packet:?}");
        assert!(machine.may_poll());
    }
    let mut machine = opened(now, Revision::V4);
    machine.begin_upgrade(now);
    machine.receive_probe(&packet(PacketType::Pong, "probe"));
    assert_eq!(machine.receive_probe(&packet(PacketType::Message, "early")), ProbeReaction::Fail);
    assert!(machine.may_poll());
}

#[test]
fn an_upgrade_that_takes_too_long_is_given_up() {
    let now = Instant::now();
    for is_answered in [false, true] {
        let mut machine = opened(now, Revision::V4);
        machine.begin_upgrade(now);
        if is_answered {
            machine.receive_probe(&packet(PacketType::Pong, "probe"));
        }
        assert_eq!(machine.deadline(), Some(now + 10 * SECOND));
        assert_eq!(machine.expire(now + 10 * SECOND), Some(Due::UpgradeTimeout));
        assert_eq!(machine.expire(now + 10 * SECOND), None);
        assert!(machine.may_poll() && machine.is_open());
    }
}

#[test]
fn the_session_ends_before_its_upgrade_is_given_up() {
    let now = Instant::now();
    let mut machine = opened(now, Revision::V4);
    machine.begin_upgrade(now);
    assert_eq!(machine.expire(now + 100 * SECOND), Some(Due::PingTimeout));
}
