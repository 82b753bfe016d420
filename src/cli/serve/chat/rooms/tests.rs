//! Which members receive a line. Members are numbers.

use super::*;
use crate::cli::serve::chat::names::NAME_LIMIT;

/// Rooms, and what was sent: each line with its receivers.
#[derive(Default)]
struct Chat {
    rooms: Rooms<u32>,
    sent: Vec<(Vec<u32>, String)>,
}

impl Chat {
    /// With members 1 to `count`, who are called guest1, guest2 and so on.
    fn of(count: u32) -> Chat {
        let mut chat = Chat::default();
        (1..=count).for_each(|member| chat.enter(member));
        chat.sent.clear();
        chat
    }

    fn enter(&mut self, member: u32) {
        let Chat { rooms, sent } = self;
        rooms.enter(member, &mut |to, line| sent.push((receivers(to), line)));
    }

    fn leave(&mut self, member: u32) {
        let Chat { rooms, sent } = self;
        rooms.leave(member, &mut |to, line| sent.push((receivers(to), line)));
    }

    /// Lets a member type a line and returns what is sent then.
    fn say(&mut self, member: u32, line: &str) -> Vec<(Vec<u32>, String)> {
        assert_eq!(self.type_line(member, line), Next::Stay, "{line}");
        std::mem::take(&mut self.sent)
    }

    fn type_line(&mut self, member: u32, line: &str) -> Next {
        let Chat { rooms, sent } = self;
        rooms.receive_line(member, line, &mut |to, line| sent.push((receivers(to), line)))
    }

    fn sent(&mut self) -> Vec<(Vec<u32>, String)> {
        std::mem::take(&mut self.sent)
    }
}

fn receivers(to: To<'_, u32>) -> Vec<u32> {
    match to {
        To::One(member) => vec![member],
        To::Room(members) => members.iter().copied().collect(),
    }
}

fn line<const N: usize>(to: [u32; N], line: &str) -> (Vec<u32>, String) {
    (to.to_vec(), line.to_owned())
}

#[test]
fn a_new_member_is_greeted_and_announced() {
    let mut chat = Chat::default();
    chat.enter(7);
    let greeting = "¡Bienvenido! You are guest1, in the lobby. /help says what you can do.";
    assert_eq!(chat.sent(), [line([7], greeting)]);
    chat.enter(8);
    assert_eq!(chat.sent()[1..], [line([7], "-- guest2 has joined")]);
}

#[test]
fn a_line_goes_to_everyone_in_the_room_and_to_no_other_room() {
    let mut chat = Chat::of(3);
    chat.say(3, "/join rust");
    assert_eq!(chat.say(1, "hola  "), [line([1, 2], "guest1: hola")]);
    assert_eq!(chat.say(3, "//hola"), [line([3], "guest3: /hola")]);
    assert_eq!(chat.say(1, "/me waves"), [line([1, 2], "* guest1 waves")]);
    assert_eq!(chat.say(1, ""), []);
    assert_eq!(chat.say(99, "not a member"), []);
}

#[test]
fn a_nick_has_one_owner_in_any_case_and_is_free_again_afterwards() {
    let mut chat = Chat::of(2);
    assert_eq!(chat.say(1, "/nick Ana"), [line([1, 2], "-- guest1 is now called Ana")]);
    assert_eq!(chat.say(2, "/nick ANA"), [line([2], "-- ANA is taken; try another nick")]);
    assert_eq!(chat.say(1, "/nick ana"), [line([1, 2], "-- Ana is now called ana")]);
    assert_eq!(chat.say(2, "/nick a:b"), [line([2], "-- a nick is made of letters and digits, without spaces")]);
    chat.leave(1);
    assert_eq!(chat.sent(), [line([2], "-- ana has left")]);
    assert_eq!(chat.say(2, "/nick ANA"), [line([2], "-- guest2 is now called ANA")]);
}

#[test]
fn a_number_that_a_member_has_taken_is_skipped() {
    let mut chat = Chat::of(1);
    chat.say(1, "/nick guest2");
    chat.enter(2);
    assert!(chat.sent()[0].1.contains("You are guest3,"));
}

#[test]
fn a_room_exists_while_someone_is_in_it() {
    let mut chat = Chat::of(2);
    let want = [line([1], "-- guest2 has gone to rust"), line([2], "-- guest2 has joined rust")];
    assert_eq!(chat.say(2, "/join Rust"), want);
    assert_eq!(chat.say(2, "/join RUST"), [line([2], "-- you are in rust already")]);
    assert_eq!(chat.say(1, "/rooms"), [line([1], "-- rooms: lobby (1), rust (1)")]);
    assert_eq!(chat.say(1, "/who"), [line([1], "-- in lobby: guest1")]);
    chat.say(2, "/join lobby");
    assert_eq!(chat.say(1, "/rooms"), [line([1], "-- rooms: lobby (2)")]);
    assert_eq!(
        chat.say(1, "/join two words"),
        [line([1], "-- a room's name is made of letters and digits, without spaces")]
    );
}

#[test]
fn a_private_message_reaches_its_receiver_in_any_room() {
    let mut chat = Chat::of(3);
    chat.say(3, "/join rust");
    let want = [line([3], "guest1 (to you only): psst"), line([1], "guest1 (to guest3 only): psst")];
    assert_eq!(chat.say(1, "/msg GUEST3   psst"), want);
    assert_eq!(chat.say(1, "/msg bo hey"), [line([1], "-- there is no bo; /who lists the members of this room")]);
    assert_eq!(chat.say(1, "/msg guest3"), [line([1], "-- /msg NICK TEXT: the text is missing")]);
}

#[test]
fn a_member_leaves_once() {
    let mut chat = Chat::of(2);
    assert_eq!(chat.type_line(2, "/QUIT now"), Next::Leave);
    assert_eq!(chat.sent(), [line([2], "-- good-bye"), line([1], "-- guest2 has left")]);
    chat.leave(2);
    assert_eq!(chat.sent(), []);
    assert_eq!(chat.rooms.describe(1).as_deref(), Some("guest1 in lobby"));
    assert_eq!(chat.rooms.describe(2), None);
    chat.leave(1);
    assert!(chat.rooms.members.is_empty() && chat.rooms.nicks.is_empty() && chat.rooms.rooms.is_empty());
}

#[test]
fn help_and_usage_go_to_the_member_who_asks() {
    let mut chat = Chat::of(2);
    let help = chat.say(1, "/help");
    assert_eq!(help.len(), HELP.lines().count());
    assert!(help.iter().all(|(to, _)| *to == [1]));
    assert_eq!(chat.say(1, "/nick"), [line([1], "-- /nick NAME        change your name to NAME")]);
    let long = "x".repeat(100);
    let want = format!("-- there is no /{}; see /help", &long[..NAME_LIMIT]);
    assert_eq!(chat.say(1, &format!("/{long}")), [line([1], &want)]);
}

#[test]
fn each_command_has_its_usage() {
    assert_eq!(usage("nick"), "-- /nick NAME        change your name to NAME");
    for command in ["join", "me", "msg"] {
        assert!(usage(command).starts_with(&format!("-- /{command} ")), "{command}");
    }
}
