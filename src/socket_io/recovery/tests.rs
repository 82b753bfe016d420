use super::*;
use proptest::prelude::*;

/// The text of a packet stands for the packet.
type Log = Recovery<&'static str, &'static str>;

fn log_with(limits: Limits) -> Log {
    Recovery::new(limits, [0xb5, 0x1d, 0x31])
}

/// Two minutes for a client to come back, and 45 seconds to notice that it is gone.
fn log() -> Log {
    log_with(Limits::default())
}

fn pid(number: u8) -> Id {
    Id::from_random([number; 15])
}

/// The session of socket `number` in these rooms, to which `sent` was sent.
fn session(number: u8, rooms: &[&str], sent: &[Offset]) -> Session<&'static str> {
    let mut session = Session {
        sid: format!("id {number}").as_str().into(),
        pid: pid(number),
        rooms: rooms.iter().map(|room| (*room).to_owned()).collect(),
        data: "data",
        sent: Sent::default(),
    };
    sent.iter().for_each(|&offset| session.sent.add(offset));
    session
}

const ALL: &[&str] = &[];

/// Logs packets for the whole namespace.
fn broadcast<const N: usize>(log: &mut Log, now: Instant, packets: [&'static str; N]) -> [Offset; N] {
    packets.map(|packet| log.log(now, ALL, ALL, packet, packet.len()))
}

/// Keeps the session of socket 1.
fn disconnect(log: &mut Log, now: Instant, rooms: &[&str], sent: &[Offset]) {
    assert_eq!(log.persist(now, session(1, rooms, sent)), None);
}

/// The packets that socket 1 missed.
fn missed(log: &mut Log, now: Instant, offset: Option<&str>) -> Option<Vec<&'static str>> {
    log.restore(now, pid(1).as_str(), offset).map(|restored| restored.missed)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn packets_between_the_loss_and_the_keeping_of_the_session_are_missed() {
    let now = Instant::now();
    let mut log = log();
    let [one] = broadcast(&mut log, now, ["one"]);
    let lost_at = log.next_offset();
    broadcast(&mut log, now, ["two"]);
    assert_eq!(log.persist_since(now, session(1, &[], &[one]), lost_at), None);
    assert_eq!(missed(&mut log, now, Some(&one.to_string())), Some(vec!["two"]));
}

#[test]
fn an_offset_is_a_short_text_and_begins_with_the_run() {
    let now = Instant::now();
    let mut log = log();
    assert_eq!(log.next_offset().to_string(), "tR0x1");
    let given = broadcast(&mut log, now, ["a", "b"]).map(|offset| offset.to_string());
    assert_eq!((given, log.next_offset().to_string()), (["tR0x1".to_owned(), "tR0x2".to_owned()], "tR0x3".to_owned()));
}

#[test]
fn a_client_gets_its_session_back_and_the_packets_that_it_missed() {
    let now = Instant::now();
    let mut log = log();
    let sent = broadcast(&mut log, now, ["received", "lost 1", "lost 2"]);
    disconnect(&mut log, now, &["red", "blue"], &sent);
    let away = broadcast(&mut log, now, ["away 1", "away 2"]);
    let restored = log.restore(now, pid(1).as_str(), Some(&sent[0].to_string())).expect("the session is there");
    assert_eq!(restored.missed, ["lost 1", "lost 2", "away 1", "away 2"]);
    let all: Vec<Offset> = sent.into_iter().chain(away).collect();
    assert_eq!(restored.session, session(1, &["red", "blue"], &all), "the missed packets are sent to it");
}

#[test]
fn a_session_is_restored_once() {
    let now = Instant::now();
    let mut log = log();
    let [sent] = broadcast(&mut log, now, ["a"]);
    disconnect(&mut log, now, &[], &[sent]);
    assert_eq!(missed(&mut log, now, Some(&sent.to_string())), Some(vec![]));
    assert_eq!(missed(&mut log, now, Some(&sent.to_string())), None);
    assert_eq!(log.expire(now + seconds(1000)), [], "it has not expired");
}

#[test]
fn a_session_that_is_lost_again_is_restored_again() {
    let now = Instant::now();
    let mut log = log();
    let sent = broadcast(&mut log, now, ["a"]);
    disconnect(&mut log, now, &[], &sent);
    broadcast(&mut log, now, ["b", "c"]);
    let restored = log.restore(now, pid(1).as_str(), Some(&sent[0].to_string())).expect("the session is there");
    assert_eq!(log.persist(now, restored.session), None);
    broadcast(&mut log, now, ["d"]);
    assert_eq!(missed(&mut log, now, Some("tR0x2")), Some(vec!["c", "d"]), "c was lost again");
}

#[test]
fn a_session_that_joins_its_rooms_late_catches_up() {
    let now = Instant::now();
    let mut log = log();
    let sent = broadcast(&mut log, now, ["a"]);
    disconnect(&mut log, now, &["red"], &sent);
    let Restored { mut session, missed, next } =
        log.restore(now, pid(1).as_str(), Some("tR0x1")).expect("the session is there");
    assert_eq!(missed, [""; 0]);
    log.log(now, &["red"], ALL, "b", 1);
    log.log(now, &["green"], ALL, "c", 1);
    assert_eq!(log.catch_up(next, &session.sid, &session.rooms, &mut session.sent), ["b"]);
    assert_eq!(log.persist(now, session), None);
    assert_eq!(super::tests::missed(&mut log, now, Some("tR0x1")), Some(vec!["b"]), "b was sent, but not received");
}

#[test]
fn the_last_offset_is_that_of_a_client_that_misses_nothing() {
    let now = Instant::now();
    let mut log = log();
    assert_eq!(log.last_offset().to_string(), "tR0x0", "before the first packet");
    let sent = broadcast(&mut log, now, ["a", "b"]);
    assert_eq!(log.last_offset(), sent[1]);
    for (offset, want) in [("tR0x0", vec!["a", "b"]), ("tR0x2", vec![])] {
        disconnect(&mut log, now, &[], &sent);
        assert_eq!(missed(&mut log, now, Some(offset)), Some(want), "{offset}");
    }
}

#[test]
fn only_packets_for_the_rooms_of_the_session_are_missed() {
    let now = Instant::now();
    let table: &[(&str, &[&str], &[&str], bool)] = &[
        ("all", &[], &[], true),
        ("a room of the session", &["red"], &[], true),
        ("another room", &["green"], &[], false),
        ("one of several rooms", &["green", "red"], &[], true),
        ("several rooms, once", &["red", "blue", "red"], &[], true),
        ("the id", &["id 1"], &[], true),
        ("another id", &["id 2"], &[], false),
        ("all but the socket", &[], &["id 1"], false),
        ("all but a room of the session", &[], &["green", "blue"], false),
        ("all but another room", &[], &["green"], true),
        ("a room but another room of the session", &["red"], &["blue"], false),
        ("a room but another socket", &["red"], &["id 2"], true),
    ];
    for (name, rooms, except, is_missed) in table {
        let mut log = log();
        disconnect(&mut log, now, &["red", "blue"], &[]);
        log.log(now, rooms, except, "a", 1);
        let want = if *is_missed { vec!["a"] } else { vec![] };
        assert_eq!(missed(&mut log, now, None), Some(want), "{name}");
    }
}

#[test]
fn missed_packets_of_several_rooms_are_in_the_order_of_the_log() {
    let now = Instant::now();
    let mut log = log();
    disconnect(&mut log, now, &["red", "blue"], &[]);
    for (room, packet) in [("blue", "a"), ("green", "b"), ("id 1", "c"), ("red", "d"), ("blue", "e")] {
        log.log(now, &[room], ALL, packet, 1);
        broadcast(&mut log, now, ["all"]);
    }
    assert_eq!(missed(&mut log, now, None), Some(vec!["a", "all", "all", "c", "all", "d", "all", "e", "all"]));
}

#[test]
fn a_private_id_that_is_not_known_restores_nothing() {
    let now = Instant::now();
    let mut log = log();
    disconnect(&mut log, now, &[], &[]);
    for unknown in ["", "id 1", pid(2).as_str(), "not an id at all, and longer than one"] {
        assert_eq!(log.restore(now, unknown, None), None, "{unknown}");
    }
    assert_eq!(missed(&mut log, now, None), Some(vec![]));
}

#[test]
fn a_session_expires() {
    let now = Instant::now();
    let mut log = log();
    disconnect(&mut log, now, &["red"], &[]);
    assert_eq!(log.persist(now + seconds(1), session(2, &[], &[])), None);
    assert_eq!(log.next_expiry(), Some(now + seconds(120)));
    assert_eq!(log.expire(now + seconds(119)), []);
    assert_eq!(missed(&mut log, now + seconds(120), None), None, "its time is over, though it is still stored");
    assert_eq!(log.expire(now + seconds(120)), [session(1, &["red"], &[])]);
    assert_eq!((log.session_count(), log.next_expiry()), (1, Some(now + seconds(121))));
    assert_eq!(log.restore(now + seconds(120), pid(2).as_str(), None).map(|restored| restored.missed), Some(vec![]));
    assert_eq!((log.session_count(), log.next_expiry()), (0, None));
}

#[test]
fn several_sessions_expire_in_the_order_of_their_disconnection() {
    let now = Instant::now();
    let mut log = log();
    for (number, after) in [(3, 0), (1, 1), (2, 1)] {
        assert_eq!(log.persist(now + seconds(after), session(number, &[], &[])), None);
    }
    let expired: Vec<Id> = log.expire(now + seconds(500)).into_iter().map(|session| session.pid).collect();
    assert_eq!(expired, [pid(3), pid(1), pid(2)]);
}

#[test]
fn packets_are_kept_longer_than_sessions_because_a_broken_connection_is_noticed_late() {
    let now = Instant::now();
    let mut log = log();
    let sent = broadcast(&mut log, now, ["received", "lost"]);
    disconnect(&mut log, now + seconds(44), &[], &sent);
    assert_eq!(log.next_expiry(), Some(now + seconds(44 + 120)));
    assert_eq!(log.expire(now + seconds(163)), []);
    assert_eq!(missed(&mut log, now + seconds(163), Some(&sent[0].to_string())), Some(vec!["lost"]));
    assert_eq!(log.next_expiry(), Some(now + seconds(165)));
    assert_eq!((log.expire(now + seconds(165)), log.packet_count(), log.next_expiry()), (vec![], 0, None));
}

#[test]
fn a_client_that_missed_a_dropped_packet_is_not_restored() {
    let now = Instant::now();
    let mut log = log();
    let sent = broadcast(&mut log, now, ["received", "lost", "lost, too"]);
    let later = now + seconds(165);
    disconnect(&mut log, later, &[], &sent);
    broadcast(&mut log, later, ["away"]);
    assert_eq!((log.expire(later), log.packet_count()), (vec![], 1));
    assert_eq!(missed(&mut log, later, Some(&sent[0].to_string())), None);
    assert_eq!(log.expire(later + seconds(120)).len(), 1, "the session stays until it expires");
}

#[test]
fn a_client_that_has_all_that_was_sent_to_it_is_restored_however_old_that_is() {
    let now = Instant::now();
    let mut log = log();
    let [sent] = broadcast(&mut log, now, ["received"]);
    log.log(now, &["green"], ALL, "for others", 10);
    let later = now + seconds(3600);
    assert_eq!((log.expire(later), log.packet_count()), (vec![], 0));
    disconnect(&mut log, later, &["red"], &[sent]);
    broadcast(&mut log, later, ["away"]);
    assert_eq!(missed(&mut log, later, Some(&sent.to_string())), Some(vec!["away"]));
}

#[test]
fn a_client_that_received_no_packet_gets_all_that_were_sent_to_it() {
    let now = Instant::now();
    let mut log = log();
    broadcast(&mut log, now, ["before it connected"]);
    let sent = broadcast(&mut log, now, ["lost"]);
    disconnect(&mut log, now, &[], &sent);
    broadcast(&mut log, now, ["away"]);
    assert_eq!(missed(&mut log, now, None), Some(vec!["lost", "away"]));
}

#[test]
fn packets_from_before_the_session_are_not_missed() {
    let now = Instant::now();
    let mut log = log();
    let [earlier, _] = broadcast(&mut log, now, ["received in an earlier session", "between the sessions"]);
    let sent = broadcast(&mut log, now, ["lost"]);
    disconnect(&mut log, now, &[], &sent);
    // A client keeps its offset until it receives another one.
    assert_eq!(missed(&mut log, now, Some(&earlier.to_string())), Some(vec!["lost"]));
    disconnect(&mut log, now, &[], &[]);
    assert_eq!(missed(&mut log, now, Some(&earlier.to_string())), Some(vec![]), "nothing was sent to it");
    disconnect(&mut log, now, &[], &[]);
    assert_eq!(missed(&mut log, now, Some("from an earlier process")), Some(vec![]), "nothing was sent to it");
}

#[test]
fn an_unknown_offset_restores_nothing() {
    let now = Instant::now();
    let mut log = log();
    let sent = broadcast(&mut log, now, ["a", "b"]);
    disconnect(&mut log, now, &[], &sent);
    let next = log.next_offset().to_string();
    let huge = "tR0x99999999999999999999999999";
    for offset in ["", "tR0x", "tR0", "AAAA1", "tR0x+1", "tR0x-1", "tR0x1 ", " tR0x1", "tR0xa", "tR0ñ1", &next, huge] {
        assert_eq!(missed(&mut log, now, Some(offset)), None, "{offset}");
    }
    assert_eq!(missed(&mut log, now, Some(&sent[0].to_string())), Some(vec!["b"]), "the session is still there");
}

#[test]
fn the_log_is_limited_in_bytes() {
    let now = Instant::now();
    let mut log = log_with(Limits { max_bytes: 2 * PACKET_COST + 100, ..Limits::default() });
    let sent = broadcast(&mut log, now, ["received"]);
    disconnect(&mut log, now, &[], &sent);
    log.log(now, ALL, ALL, "60 bytes", 60);
    assert_eq!((log.packet_count(), log.bytes()), (2, 2 * PACKET_COST + 68));
    log.log(now, ALL, ALL, "90 bytes", 90);
    assert_eq!((log.packet_count(), log.bytes()), (1, PACKET_COST + 90), "the two oldest are dropped");
    assert_eq!(missed(&mut log, now, Some(&sent[0].to_string())), None, "a missed packet is dropped");
    log.log(now, ALL, ALL, "too long", 1000);
    assert_eq!((log.packet_count(), log.bytes()), (0, 0), "a packet over the limit is not kept");
    assert_eq!(log.next_offset().to_string(), "tR0x5");
}

#[test]
fn the_memory_of_rooms_is_counted_and_freed() {
    let now = Instant::now();
    let mut log = log();
    log.log(now, &["red", "red", "id 1"], &["blue", "id 2"], "a", 1);
    let names = 5 * NAME_COST + "blueid 2".len() + 2 * ROOM_COST + "redid 1".len();
    assert_eq!(log.bytes(), PACKET_COST + 1 + names);
    log.log(now, &["red"], ALL, "b", 1);
    assert_eq!(log.bytes(), 2 * PACKET_COST + 2 + names + NAME_COST, "the room is counted once");
    for number in 0..3000 {
        log.log(now, &[&format!("room {number}")], ALL, "c", 1);
    }
    assert_eq!(log.expire(now + seconds(165)), []);
    assert_eq!((log.bytes(), log.to_room.len(), log.to_all.len()), (0, 0, 0));
    let capacities = [log.log.capacity(), log.to_room.capacity()];
    assert!(capacities.iter().all(|&capacity| capacity <= 128), "{capacities:?}");
}

#[test]
fn the_oldest_session_goes_when_there_are_too_many() {
    let now = Instant::now();
    let mut log = log_with(Limits { max_sessions: 2, ..Limits::default() });
    assert_eq!(log.persist(now, session(1, &[], &[])), None);
    assert_eq!(log.persist(now, session(2, &[], &[])), None);
    assert_eq!(log.persist(now, session(3, &[], &[])), Some(session(1, &[], &[])));
    assert_eq!((missed(&mut log, now, None), log.session_count()), (None, 2));
    let mut none = log_with(Limits { max_sessions: 0, ..Limits::default() });
    assert_eq!(none.persist(now, session(1, &[], &[])), Some(session(1, &[], &[])));
    assert_eq!(missed(&mut none, now, None), None);
}

#[test]
fn a_session_replaces_one_with_the_same_private_id() {
    let now = Instant::now();
    let mut log = log_with(Limits { max_sessions: 2, ..Limits::default() });
    disconnect(&mut log, now, &["red"], &[]);
    assert_eq!(log.persist(now, session(2, &[], &[])), None);
    assert_eq!(log.persist(now + seconds(9), session(1, &["blue"], &[])), Some(session(1, &["red"], &[])));
    assert_eq!(log.expire(now + seconds(120)), [session(2, &[], &[])]);
    let restored = log.restore(now + seconds(120), pid(1).as_str(), None).expect("its time starts again");
    assert_eq!(restored.session.rooms, ["blue"]);
}

#[test]
fn a_duration_without_end_never_expires() {
    let now = Instant::now();
    let limits = Limits { max_disconnection_duration: Duration::MAX, ..Limits::default() };
    let mut log = log_with(limits);
    broadcast(&mut log, now, ["a"]);
    disconnect(&mut log, now, &[], &[]);
    assert_eq!((log.next_expiry(), log.expire(now + seconds(1_000_000)), log.packet_count()), (None, vec![], 1));
}

/// A namespace with clients on connections that lose packets, for the property below.
struct World {
    now: Instant,
    recovery: Recovery<usize, usize>,
    /// All packets that were logged: `rooms` and `except`. A packet is its number here.
    packets: Vec<(Vec<String>, Vec<String>)>,
    clients: Vec<Client>,
    next_pid: u16,
}

/// Both sides of a client.
struct Client {
    sid: SocketId,
    pid: Id,
    rooms: Vec<String>,
    /// `None`: the connection is broken.
    sent: Option<Sent>,
    /// Sent, and neither received nor lost.
    on_the_way: VecDeque<usize>,
    /// In this session.
    received: Vec<usize>,
    /// The client's own record. It survives the session.
    offset: Option<String>,
    /// All packets of this session that were for the client when they were sent.
    owed: Vec<usize>,
    /// While the connection is broken: what the naive model knows of it.
    first_sent: Option<usize>,
    last_sent: Option<usize>,
    lost_at: usize,
}

impl Client {
    fn matches(&self, (rooms, except): &(Vec<String>, Vec<String>)) -> bool {
        let is_in = |room: &String| *room == self.sid.as_str() || self.rooms.contains(room);
        (rooms.is_empty() || rooms.iter().any(is_in)) && !except.iter().any(is_in)
    }

    fn receive(&mut self, packet: usize, offset: String) {
        assert!(self.received.last().is_none_or(|&last| last < packet), "in order, and once");
        self.received.push(packet);
        self.offset = Some(offset);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Broadcast(Vec<String>, Vec<String>),
    Receive(usize, usize),
    Lose(usize),
    ComeBack(usize),
    Join(usize, String),
    Leave(usize, String),
    Wait(u64),
}

const CLIENTS: usize = 3;

impl World {
    fn new(limits: Limits, rooms: &[Vec<String>]) -> World {
        let mut world = World {
            now: Instant::now(),
            recovery: Recovery::new(limits, [1, 2, 3]),
            packets: Vec::new(),
            clients: Vec::new(),
            next_pid: 0,
        };
        for rooms in rooms {
            let client = world.connect(rooms.clone(), None);
            world.clients.push(client);
        }
        world
    }

    /// A client with a new session.
    fn connect(&mut self, rooms: Vec<String>, offset: Option<String>) -> Client {
        self.next_pid += 1;
        let mut bytes = [0; 15];
        bytes[..2].copy_from_slice(&self.next_pid.to_le_bytes());
        Client {
            sid: format!("id {}", self.clients.len()).as_str().into(),
            pid: Id::from_random(bytes),
            rooms,
            sent: Some(Sent::default()),
            on_the_way: VecDeque::new(),
            received: Vec::new(),
            offset,
            owed: Vec::new(),
            first_sent: None,
            last_sent: None,
            lost_at: 0,
        }
    }

    fn offset_of(&self, packet: usize) -> String {
        Offset { run: self.recovery.run, serial: packet as u64 + 1 }.to_string()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Broadcast(rooms, except) => {
                let number = self.packets.len();
                let offset = self.recovery.log(self.now, &rooms, &except, number, 10);
                assert_eq!(offset.to_string(), self.offset_of(number));
                self.packets.push((rooms, except));
                for client in self.clients.iter_mut().filter(|client| client.matches(&self.packets[number])) {
                    client.owed.push(number);
                    if let Some(sent) = &mut client.sent {
                        sent.add(offset);
                        client.on_the_way.push_back(number);
                        client.first_sent.get_or_insert(number);
                        client.last_sent = Some(number);
                    }
                }
            }
            Step::Receive(number, count) => {
                for _ in 0..count {
                    let Some(packet) = self.clients[number].on_the_way.pop_front() else { break };
                    let offset = self.offset_of(packet);
                    self.clients[number].receive(packet, offset);
                }
            }
            Step::Lose(number) => {
                let client = &mut self.clients[number];
                let Some(sent) = client.sent.take() else { return };
                client.on_the_way.clear();
                client.lost_at = self.packets.len();
                let (sid, pid, rooms) = (client.sid.clone(), client.pid, client.rooms.clone());
                let replaced = self.recovery.persist(self.now, Session { sid, pid, rooms, data: number, sent });
                assert_eq!(replaced, None);
            }
            Step::ComeBack(number) => self.come_back(number),
            // A client that is away joins nothing.
            Step::Join(number, room) => {
                let client = &mut self.clients[number];
                if client.sent.is_some() && !client.rooms.contains(&room) {
                    client.rooms.push(room);
                }
            }
            Step::Leave(number, room) => {
                let client = &mut self.clients[number];
                if client.sent.is_some() {
                    client.rooms.retain(|other| *other != room);
                }
            }
            Step::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                for session in self.recovery.expire(self.now) {
                    let client = &self.clients[session.data];
                    assert!(client.sent.is_none() || client.pid != session.pid, "a restored session does not expire");
                }
            }
        }
    }

    /// The packets that the client missed, by the naive model: all packets are searched.
    fn missed(&self, client: &Client) -> Option<Vec<usize>> {
        let received = client.offset.as_ref().and_then(|offset| {
            (0..self.packets.len()).find(|&packet| self.offset_of(packet) == *offset).map(|packet| packet + 1)
        });
        let received = received.unwrap_or(0);
        let start = match (client.first_sent, client.last_sent) {
            (Some(first), Some(last)) if received <= last => first.max(received),
            _ => client.lost_at,
        };
        let dropped = self.packets.len() - self.recovery.packet_count();
        let missed = (start..self.packets.len()).filter(|&packet| client.matches(&self.packets[packet]));
        (start >= dropped).then(|| missed.collect())
    }

    fn come_back(&mut self, number: usize) {
        let client = &self.clients[number];
        if client.sent.is_some() {
            return;
        }
        let want = self.missed(client);
        let is_kept = self.recovery.by_pid.contains_key(&client.pid);
        match self.recovery.restore(self.now, client.pid.as_str(), client.offset.as_deref()) {
            Some(Restored { session, missed, .. }) => {
                assert_eq!(Some(&missed), want.as_ref());
                let client = &mut self.clients[number];
                assert_eq!(
                    (session.sid, session.rooms, session.data),
                    (client.sid.clone(), client.rooms.clone(), number)
                );
                client.sent = Some(session.sent);
                client.on_the_way = missed.into();
                client.first_sent = client.first_sent.or(client.on_the_way.front().copied());
                client.last_sent = client.on_the_way.back().copied().or(client.last_sent);
            }
            None => {
                assert!(!is_kept || want.is_none(), "a session is refused only if it is not certain what it missed");
                let (rooms, offset) = (client.rooms.clone(), client.offset.clone());
                let mut client = self.connect(rooms, offset);
                client.sid = self.clients[number].sid.clone();
                self.clients[number] = client;
            }
        }
    }
}

fn room() -> impl Strategy<Value = String> {
    prop_oneof![(0..3).prop_map(|room| format!("room {room}")), (0..CLIENTS).prop_map(|c| format!("id {c}"))]
}

fn rooms(most: usize) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(room(), 0..=most)
}

/// Steps that do not change rooms.
fn step_in_fixed_rooms() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (rooms(2), rooms(1)).prop_map(|(rooms, except)| Step::Broadcast(rooms, except)),
        3 => (0..CLIENTS, 1usize..4).prop_map(|(client, count)| Step::Receive(client, count)),
        2 => (0..CLIENTS).prop_map(Step::Lose),
        2 => (0..CLIENTS).prop_map(Step::ComeBack),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => step_in_fixed_rooms(),
        1 => (0..CLIENTS, room()).prop_map(|(client, room)| Step::Join(client, room)),
        1 => (0..CLIENTS, room()).prop_map(|(client, room)| Step::Leave(client, room)),
        1 => (0u64..100).prop_map(Step::Wait),
    ]
}

proptest! {
    /// For clients that stay in their rooms: every packet arrives once and in order, whatever connections break.
    #[test]
    fn a_client_receives_each_packet_for_it_once_and_in_order(
        rooms in proptest::collection::vec(rooms(2), CLIENTS),
        steps in proptest::collection::vec(step_in_fixed_rooms(), 0..80),
    ) {
        let mut world = World::new(Limits::default(), &rooms);
        for step in steps {
            world.step(step);
        }
        for number in 0..CLIENTS {
            world.step(Step::ComeBack(number));
            world.step(Step::Receive(number, usize::MAX));
            prop_assert_eq!(&world.clients[number].received, &world.clients[number].owed);
        }
    }

    /// The restored packets are those that a search of all packets finds, and nothing is restored if one was dropped.
    #[test]
    fn a_restoration_is_that_of_a_search_in_all_packets(
        rooms in proptest::collection::vec(rooms(2), CLIENTS),
        steps in proptest::collection::vec(step(), 0..120),
        max_bytes in prop_oneof![Just(usize::MAX), 0usize..5_000],
    ) {
        let mut world = World::new(Limits { max_bytes, ..Limits::default() }, &rooms);
        for step in steps {
            world.step(step);
            prop_assert!(world.recovery.bytes() <= max_bytes);
            prop_assert_eq!(world.recovery.bytes() == 0, world.recovery.packet_count() == 0);
        }
        world.step(Step::Wait(1000));
        prop_assert_eq!((world.recovery.bytes(), world.recovery.to_room.len(), world.recovery.by_pid.len()), (0, 0, 0));
    }
}
