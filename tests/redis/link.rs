//! The link to a real server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bucle::EventLoop;
use bucle::redis::Options;

use crate::redis_server::RedisServer;
use crate::{Story, open, options, until, until_told};

/// A loop with a server, and a story.
fn with_server(server_options: &[&str], test: impl FnOnce(&mut EventLoop, &mut RedisServer, &Story)) {
    let Some(mut server) = RedisServer::start(server_options) else { return };
    let mut event_loop = EventLoop::new().expect("a loop");
    test(&mut event_loop, &mut server, &Story::default());
}

#[test]
fn messages_of_channels_and_patterns_arrive_in_their_order() {
    with_server(&[], |event_loop, server, story| {
        let link = event_loop.enter(|lp| {
            let link = open(lp, options(server.port()), story);
            for kind in ["channel", "pattern"] {
                let story = story.clone();
                let note = move |_: &mut _, channel: &[u8], message: &[u8]| {
                    let [channel, message] = [channel, message].map(String::from_utf8_lossy);
                    story.borrow_mut().push(format!("{kind} {channel}: {message}"));
                };
                match kind {
                    "channel" => link.subscribe(lp, "news", note),
                    _ => link.psubscribe(lp, "ne*", note),
                };
            }
            link
        });
        until_told(event_loop, story, "ready");
        story.borrow_mut().clear();
        event_loop.enter(|lp| {
            for message in ["one", "two", "\r\n\0"] {
                assert!(link.publish(lp, "news", message));
            }
            link.publish(lp, "never", "a");
            link.publish(lp, "next", "b");
        });
        until_told(event_loop, story, "pattern next: b");
        let want = [
            "channel news: one",
            "pattern news: one",
            "channel news: two",
            "pattern news: two",
            "channel news: \r\n\0",
            "pattern news: \r\n\0",
            "pattern never: a",
            "pattern next: b",
        ];
        assert_eq!(*story.borrow(), want);
        let statistics = event_loop.enter(|lp| link.statistics(lp)).expect("it is open");
        assert_eq!((statistics.received, statistics.connections, statistics.dropped), (8, 1, 0));
    });
}

#[test]
fn replies_come_in_the_order_of_the_commands() {
    with_server(&[], |event_loop, server, story| {
        event_loop.enter(|lp| {
            let link = open(lp, options(server.port()), story);
            // Before there is a connection, too.
            for parts in [
                &["SET", "a", "7"][..],
                &["GET", "a"],
                &["INCR", "a"],
                &["HGET", "a", "x"],
                &["LRANGE", "b", "0", "-1"],
            ] {
                let (story, name) = (story.clone(), parts[0]);
                link.command(lp, parts, move |_, reply| {
                    let line = match reply {
                        Ok(reply) => format!("{name} {reply:?}"),
                        Err(error) => format!("{name} {}", error.code()),
                    };
                    story.borrow_mut().push(line);
                });
            }
        });
        until_told(event_loop, story, "LRANGE Array([])");
        let lines = story.borrow().iter().filter(|line| *line != "ready").cloned().collect::<Vec<_>>();
        assert_eq!(
            lines,
            ["SET Status([79, 75])", "GET Bytes([55])", "INCR Integer(8)", "HGET E_REDIS_REPLY", "LRANGE Array([])"]
        );
    });
}

#[test]
fn the_login_and_the_database_are_those_of_the_url() {
    with_server(&["--requirepass", "p@ss/word", "--databases", "4"], |event_loop, server, story| {
        let url = format!("redis://default:p%40ss%2Fword@127.0.0.1:{}/3", server.port());
        event_loop.enter(|lp| {
            let link = open(lp, Options::from_url(&url).expect("a URL"), story);
            let story = story.clone();
            link.command(lp, &["CLIENT", "INFO"], move |_, reply| {
                let reply = reply.expect("a reply");
                let text = String::from_utf8_lossy(reply.bytes().expect("a text")).into_owned();
                assert!(text.contains(" db=3 "), "{text}");
                story.borrow_mut().push("info".to_owned());
            });
        });
        until_told(event_loop, story, "info");
        for (login, path, want) in [
            ("", "", "lost E_REDIS_LOGIN"),
            (":wrong@", "", "lost E_REDIS_LOGIN"),
            (":p%40ss%2Fword@", "/9", "lost E_REDIS_DATABASE"),
        ] {
            story.borrow_mut().clear();
            let url = format!("redis://{login}127.0.0.1:{}{path}", server.port());
            let link = event_loop.enter(|lp| open(lp, Options::from_url(&url).expect("a URL"), story));
            until_told(event_loop, story, want);
            event_loop.enter(|lp| link.close(lp));
        }
    });
}

#[test]
fn a_link_comes_back_by_itself_and_subscribes_again() {
    with_server(&[], |event_loop, server, story| {
        let (link, subscription) = event_loop.enter(|lp| {
            let link = open(lp, options(server.port()), story);
            let (news, other) = (story.clone(), story.clone());
            link.subscribe(lp, "news", move |_, _, message| {
                news.borrow_mut().push(format!("news {}", String::from_utf8_lossy(message)));
            });
            let subscription = link.psubscribe(lp, "o*", move |_, _, message| {
                other.borrow_mut().push(format!("other {}", String::from_utf8_lossy(message)));
            });
            (link, subscription)
        });
        until_told(event_loop, story, "ready");
        server.kill();
        until(event_loop, "the loss", |lp| !link.is_ready(lp));
        assert_eq!(*story.borrow(), ["ready", "lost ECONNRESET"]);
        story.borrow_mut().clear();
        let late = story.clone();
        event_loop.enter(|lp| {
            // Changes made meanwhile hold for the next connection.
            link.unsubscribe(lp, subscription);
            link.subscribe(lp, "late", move |_, _, message| {
                late.borrow_mut().push(format!("late {}", String::from_utf8_lossy(message)));
            });
        });
        server.restart();
        until_told(event_loop, story, "ready");
        event_loop.enter(|lp| {
            for channel in ["news", "other", "late"] {
                link.publish(lp, channel, "x");
            }
        });
        until_told(event_loop, story, "late x");
        assert_eq!(*story.borrow(), ["ready", "news x", "late x"]);
    });
}

/// A user whose channels begin with `ok`.
const RESTRICTED: &[&str] = &["--user", "chat", "on", ">pw", "~*", "resetchannels", "&ok*", "+@all"];

/// A link of this user. Its messages go to the story.
fn open_restricted(event_loop: &mut EventLoop, port: u16, story: &Story) -> bucle::redis::Link {
    event_loop.enter(|lp| {
        let mut options = options(port);
        (options.address.user, options.address.password) = (Some("chat".to_owned()), Some("pw".to_owned()));
        let link = open(lp, options, story);
        let both = ["ok1", "secret", "ok2"];
        // A pattern must be one of the user.
        for (kind, names) in [("channel", &both[..]), ("pattern", &["ok*", "secret"]), ("sharded", &both)] {
            for &name in names {
                let story = story.clone();
                let note = move |_: &mut _, _: &[u8], message: &[u8]| {
                    story.borrow_mut().push(format!("{kind} {name}: {}", String::from_utf8_lossy(message)));
                };
                match kind {
                    "channel" => link.subscribe(lp, name, note),
                    "pattern" => link.psubscribe(lp, name, note),
                    _ => link.ssubscribe(lp, name, note),
                };
            }
        }
        link
    })
}

#[test]
fn a_subscription_that_redis_refuses_is_reported_once_and_the_others_work() {
    with_server(RESTRICTED, |event_loop, server, story| {
        let link = open_restricted(event_loop, server.port(), story);
        until_told(event_loop, story, "ready");
        for connection in 1..=2 {
            event_loop.enter(|lp| {
                let statistics = link.statistics(lp).expect("it is open");
                assert_eq!((statistics.connections, statistics.refused_subscriptions), (connection, 3));
                // The link is ready: everything else is subscribed.
                for name in ["ok1", "ok2"] {
                    link.publish(lp, name, connection.to_string());
                    link.spublish(lp, name, connection.to_string());
                }
            });
            until_told(event_loop, story, &format!("sharded ok2: {connection}"));
            let messages: Vec<_> = story.borrow().iter().filter(|line| line.contains(": ")).cloned().collect();
            let want = ["channel ok1", "pattern ok*", "sharded ok1", "channel ok2", "pattern ok*", "sharded ok2"];
            assert_eq!(messages, want.map(|name| format!("{name}: {connection}")));
            story.borrow_mut().clear();
            if connection == 1 {
                server.restart();
                until_told(event_loop, story, "ready");
            }
        }
        // A change on the connection that is ready is refused in the same way, and disturbs nothing.
        event_loop.enter(|lp| {
            let id = link.subscribe(lp, "secret too", |_, _, _| {});
            link.unsubscribe(lp, id);
            link.subscribe(lp, "secret too", |_, _, _| {});
            let end = story.clone();
            link.subscribe(lp, "ok3", move |_, _, _| end.borrow_mut().push("end".to_owned()));
        });
        until(event_loop, "a refusal", |lp| link.statistics(lp).is_some_and(|all| all.refused_subscriptions == 4));
        until(event_loop, "the last subscription", |lp| {
            link.publish(lp, "ok3", "");
            story.borrow().contains(&"end".to_owned())
        });
        assert_eq!(event_loop.enter(|lp| link.statistics(lp)).expect("it is open").refused_subscriptions, 4);
        assert!(!story.borrow().iter().any(|line| line.starts_with("lost")), "{story:?}");
    });
}

#[test]
fn a_subscription_that_redis_has_refused_works_after_the_user_has_got_the_right() {
    with_server(RESTRICTED, |event_loop, server, story| {
        let link = open_restricted(event_loop, server.port(), story);
        let admin = event_loop.enter(|lp| open(lp, options(server.port()), &Story::default()));
        until_told(event_loop, story, "ready");
        event_loop.enter(|lp| {
            for command in
                [&["ACL", "SETUSER", "chat", "&secret"][..], &["CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes"]]
            {
                admin.command(lp, command, |_, reply| assert!(reply.is_ok()));
            }
        });
        until(event_loop, "a second connection", |lp| link.statistics(lp).is_some_and(|all| all.connections == 2));
        event_loop.enter(|lp| link.publish(lp, "secret", "1"));
        until_told(event_loop, story, "pattern secret: 1");
        assert!(story.borrow().contains(&"channel secret: 1".to_owned()));
    });
}

#[test]
fn commands_wait_for_redis_up_to_the_limit() {
    with_server(&[], |event_loop, server, story| {
        server.kill();
        let mut options = options(server.port());
        options.max_waiting = 1000;
        let link = event_loop.enter(|lp| {
            let link = open(lp, options, story);
            let accepted = (0..100).filter(|number| link.publish(lp, "news", number.to_string())).count();
            assert!((5..20).contains(&accepted), "{accepted}");
            let statistics = link.statistics(lp).expect("it is open");
            assert_eq!(statistics.dropped, 100 - accepted as u64);
            let story = story.clone();
            link.command(lp, &["PING"], move |_, reply| {
                story.borrow_mut().push(reply.map_or_else(|error| error.code().to_owned(), |_| "a reply".to_owned()));
            });
            link
        });
        until_told(event_loop, story, "E_REDIS_FULL");
        server.restart();
        until_told(event_loop, story, "ready");
        event_loop.enter(|lp| assert!(link.publish(lp, "news", "there is room again")));
    });
}

#[test]
fn a_connection_that_breaks_without_a_sign_is_noticed_and_made_again() {
    with_server(&[], |event_loop, server, story| {
        let proxy = Proxy::start(server.port());
        let link = event_loop.enter(|lp| {
            let link = open(lp, options(proxy.port), story);
            let story = story.clone();
            link.subscribe(lp, "news", move |_, _, message| {
                story.borrow_mut().push(String::from_utf8_lossy(message).into_owned());
            });
            link
        });
        until_told(event_loop, story, "ready");
        proxy.is_open.store(false, Ordering::SeqCst);
        event_loop.enter(|lp| link.publish(lp, "news", "nobody gets it"));
        until(event_loop, "the loss", |lp| !link.is_ready(lp));
        assert_eq!(*story.borrow(), ["ready", "lost ETIMEDOUT"]);
        story.borrow_mut().clear();
        proxy.is_open.store(true, Ordering::SeqCst);
        until_told(event_loop, story, "ready");
        event_loop.enter(|lp| link.publish(lp, "news", "everyone gets it"));
        until_told(event_loop, story, "everyone gets it");
        assert_eq!(*story.borrow(), ["ready", "everyone gets it"]);
    });
}

/// Stands between a link and the server. While it is not open, what arrives is discarded, and connections stay as they
/// are.
struct Proxy {
    port: u16,
    is_open: Arc<AtomicBool>,
}

impl Proxy {
    fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let is_open = Arc::new(AtomicBool::new(true));
        let shared = is_open.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", to)).expect("it listens");
                for (mut from, mut to) in
                    [(client.try_clone().expect("a socket"), server.try_clone().expect("a socket")), (server, client)]
                {
                    let is_open = shared.clone();
                    thread::spawn(move || {
                        let mut bytes = [0; 4096];
                        while let Ok(len @ 1..) = from.read(&mut bytes) {
                            if is_open.load(Ordering::SeqCst) && to.write_all(&bytes[..len]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Proxy { port, is_open }
    }
}

#[test]
fn a_closure_can_end_its_subscription_and_close_the_link() {
    with_server(&[], |event_loop, server, story| {
        let link = event_loop.enter(|lp| {
            let link = open(lp, options(server.port()), story);
            let note = story.clone();
            let id = std::rc::Rc::new(std::cell::Cell::new(None));
            let own = id.clone();
            let subscription = link.subscribe(lp, "once", move |lp, _, _| {
                note.borrow_mut().push("once".to_owned());
                link.unsubscribe(lp, own.get().expect("it is set"));
            });
            id.set(Some(subscription));
            let note = story.clone();
            link.subscribe(lp, "end", move |lp, _, _| {
                note.borrow_mut().push("end".to_owned());
                link.close(lp);
            });
            link
        });
        until_told(event_loop, story, "ready");
        event_loop.enter(|lp| {
            for channel in ["once", "once", "end", "end"] {
                link.publish(lp, channel, "");
            }
        });
        until(event_loop, "the end", |lp| !link.exists(lp));
        // Nothing keeps the loop running.
        event_loop.run().expect("the loop ends");
        assert_eq!(*story.borrow(), ["ready", "once", "end"]);
    });
}

#[test]
fn a_link_without_a_reference_lets_the_loop_end() {
    with_server(&[], |event_loop, server, story| {
        let link = event_loop.enter(|lp| open(lp, options(server.port()), story));
        until_told(event_loop, story, "ready");
        event_loop.enter(|lp| link.unref(lp));
        event_loop.run().expect("the loop ends");
    });
}

#[test]
fn sharded_channels_are_channels_of_their_own() {
    with_server(&[], |event_loop, server, story| {
        let (link, first) = event_loop.enter(|lp| {
            let link = open(lp, options(server.port()), story);
            let note = |kind: &'static str| {
                let story = story.clone();
                move |_: &mut _, channel: &[u8], message: &[u8]| {
                    let [channel, message] = [channel, message].map(String::from_utf8_lossy);
                    story.borrow_mut().push(format!("{kind} {channel}: {message}"));
                }
            };
            link.subscribe(lp, "a", note("plain"));
            (link, link.ssubscribe(lp, "a", note("sharded")))
        });
        until_told(event_loop, story, "ready");
        event_loop.enter(|lp| {
            link.publish(lp, "a", "1");
            link.spublish(lp, "a", "2");
        });
        until_told(event_loop, story, "sharded a: 2");
        server.restart();
        until(event_loop, "the link is ready again", |lp| link.statistics(lp).is_some_and(|all| all.connections == 2));
        event_loop.enter(|lp| link.spublish(lp, "a", "3"));
        until_told(event_loop, story, "sharded a: 3");
        event_loop.enter(|lp| {
            link.unsubscribe(lp, first);
            link.spublish(lp, "a", "never");
            link.publish(lp, "a", "4");
        });
        until_told(event_loop, story, "plain a: 4");
        assert!(!story.borrow().contains(&"sharded a: never".to_owned()));
    });
}

/// A link that reads the stream `s`. Each entry goes to the story as its fields `n` and `é`.
fn read_stream(event_loop: &mut EventLoop, server: &RedisServer, story: &Story) -> bucle::redis::Link {
    event_loop.enter(|lp| {
        let link = open(lp, options(server.port()), story);
        let entries = story.clone();
        link.read_stream(lp, "s", move |_, entry| {
            let field = |name| String::from_utf8_lossy(entry.field(name).unwrap_or(b"-")).into_owned();
            entries.borrow_mut().push(format!("entry {} {}", field("n"), field("é")));
        });
        link
    })
}

/// Sends a command, and tells the number that it returns.
fn note_reply(lp: &mut bucle::Loop, link: bucle::redis::Link, story: &Story, command: &[&str]) {
    let story = story.clone();
    link.command(lp, command, move |_, reply| {
        let number = reply.expect("a reply").integer().expect("a number");
        story.borrow_mut().push(format!("reply {number}"));
    });
}

fn add(lp: &mut bucle::Loop, link: bucle::redis::Link, numbers: std::ops::Range<u32>) {
    for number in numbers {
        link.command(lp, &["XADD", "s", "*", "n", &number.to_string(), "é", "ü"], |_, reply| {
            reply.expect("it is added");
        });
    }
}

/// Waits until the link is ready, adds two entries to its stream, and waits until it has read them.
fn read_two(event_loop: &mut EventLoop, link: bucle::redis::Link, story: &Story) {
    until_told(event_loop, story, "ready");
    event_loop.enter(|lp| {
        add(lp, link, 0..2);
        note_reply(lp, link, story, &["XLEN", "s"]);
    });
    // An entry may come before the reply to the command that has added it.
    for line in ["entry 1 ü", "reply 2"] {
        until_told(event_loop, story, line);
    }
}

#[test]
fn entries_of_a_stream_come_once_and_in_their_order_also_those_of_the_time_without_a_connection() {
    with_server(&[], |event_loop, server, story| {
        let writer = event_loop.enter(|lp| open(lp, options(server.port()), &Story::default()));
        event_loop.enter(|lp| {
            add(lp, writer, 0..5);
            note_reply(lp, writer, story, &["XLEN", "s"]);
        });
        until_told(event_loop, story, "reply 5");
        let reader = read_stream(event_loop, server, story);
        until_told(event_loop, story, "ready");
        // More than one reply has.
        event_loop.enter(|lp| add(lp, writer, 5..500));
        until_told(event_loop, story, "entry 499 ü");
        event_loop.enter(|lp| {
            writer.command(lp, &["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"], |_, reply| {
                assert!(reply.expect("a count").integer() >= Some(2));
            });
            add(lp, writer, 500..510);
        });
        until_told(event_loop, story, "entry 509 ü");
        assert!(story.borrow().contains(&"lost ECONNRESET".to_owned()));
        let entries: Vec<_> = story.borrow().iter().filter(|line| line.starts_with("entry")).cloned().collect();
        assert_eq!(entries, (5..510).map(|number| format!("entry {number} ü")).collect::<Vec<_>>());
        event_loop.enter(|lp| [reader, writer].map(|link| link.close(lp)));
    });
}

#[test]
fn a_stream_goes_on_when_redis_has_lost_its_data() {
    with_server(&[], |event_loop, server, story| {
        let link = read_stream(event_loop, server, story);
        read_two(event_loop, link, story);
        server.restart();
        until(event_loop, "the link is ready again", |lp| link.statistics(lp).is_some_and(|all| all.connections == 2));
        // The clock of the new server is behind that of the old one.
        event_loop.enter(|lp| {
            link.command(lp, &["XADD", "s", "5-1", "n", "2", "é", "ü"], |_, reply| drop(reply.map(|_| ())));
        });
        until_told(event_loop, story, "entry 2 ü");
    });
}

#[test]
fn a_key_that_is_no_stream_is_an_error_and_the_link_waits_until_it_is_one() {
    with_server(&[], |event_loop, server, story| {
        let other = event_loop.enter(|lp| {
            let other = open(lp, options(server.port()), &Story::default());
            note_reply(lp, other, story, &["SETNX", "s", "text"]);
            other
        });
        until_told(event_loop, story, "reply 1");
        read_stream(event_loop, server, story);
        until_told(event_loop, story, "lost E_REDIS_REPLY");
        event_loop.enter(|lp| other.command(lp, &["DEL", "s"], |_, reply| assert!(reply.is_ok())));
        until_told(event_loop, story, "ready");
        event_loop.enter(|lp| add(lp, other, 0..1));
        until_told(event_loop, story, "entry 0 ü");
    });
}

#[test]
fn a_stream_that_is_read_twice_calls_both_readers_once_for_each_entry() {
    with_server(&[], |event_loop, server, story| {
        let link = read_stream(event_loop, server, story);
        let second = story.clone();
        event_loop.enter(|lp| {
            link.read_stream(lp, "s", move |_, entry| {
                let number = String::from_utf8_lossy(entry.field("n").unwrap_or(b"-")).into_owned();
                second.borrow_mut().push(format!("entry {number} again"));
            });
        });
        until_told(event_loop, story, "ready");
        for numbers in [0..3, 3..5] {
            let last = format!("entry {} again", numbers.end - 1);
            event_loop.enter(|lp| add(lp, link, numbers));
            until_told(event_loop, story, &last);
        }
        // What comes twice would come before this.
        event_loop.enter(|lp| note_reply(lp, link, story, &["XLEN", "s"]));
        until_told(event_loop, story, "reply 5");
        let entries: Vec<_> = story.borrow().iter().filter(|line| line.starts_with("entry")).cloned().collect();
        let want: Vec<_> =
            (0..5).flat_map(|number| ["ü", "again"].map(|end| format!("entry {number} {end}"))).collect();
        assert_eq!(entries, want);
    });
}

/// Has a server add entries to a stream and drop all but the last ones, before it does anything else.
fn add_and_trim(port: u16, entries: std::ops::Range<u32>, left: u32) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let adds: String = entries.clone().map(|number| format!("XADD s * n {number} é ü\r\n")).collect();
    write!(stream, "CLIENT KILL TYPE normal SKIPME yes\r\n{adds}XTRIM s MAXLEN {left}\r\nQUIT\r\n").expect("it reads");
    stream.read_to_end(&mut Vec::new()).expect("it answers");
}

#[test]
fn entries_that_were_dropped_before_they_were_read_are_reported_once() {
    with_server(&[], |event_loop, server, story| {
        let link = read_stream(event_loop, server, story);
        let gaps = story.clone();
        event_loop.enter(|lp| {
            link.on_gap(lp, move |_, key| {
                gaps.borrow_mut().push(format!("gap in {}", String::from_utf8_lossy(key)));
            });
        });
        read_two(event_loop, link, story);
        // Nothing is lost while the last entry that was read is still there.
        for (entries, left) in [(2..5, 4), (5..9, 3)] {
            let last = format!("entry {} ü", entries.end - 1);
            add_and_trim(server.port(), entries, left);
            until_told(event_loop, story, &last);
        }
        event_loop.enter(|lp| add(lp, link, 9..10));
        until_told(event_loop, story, "entry 9 ü");
        let lines: Vec<_> = story.borrow().iter().filter(|line| line.starts_with("gap")).cloned().collect();
        assert_eq!(lines, ["gap in s"]);
        let entries: Vec<_> = story.borrow().iter().filter(|line| line.starts_with("entry")).cloned().collect();
        assert_eq!(entries, [0, 1, 2, 3, 4, 6, 7, 8, 9].map(|number| format!("entry {number} ü")));
        assert_eq!(event_loop.enter(|lp| link.statistics(lp)).expect("it is open").gaps, 1);
    });
}

#[test]
fn entries_that_were_dropped_while_the_program_was_slow_are_reported() {
    with_server(&[], |event_loop, server, story| {
        let link = read_stream(event_loop, server, story);
        let port = server.port();
        event_loop.enter(|lp| {
            link.read_stream(lp, "s", move |_, entry| {
                if entry.field("n") != Some(b"0") {
                    return;
                }
                // The program does not return while others add entries.
                let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
                let begin = std::time::Instant::now();
                while begin.elapsed() < std::time::Duration::from_millis(20) {
                    write!(stream, "XADD s MAXLEN 2 * n 1 é ü\r\n").expect("it reads");
                    assert!(stream.read(&mut [0; 64]).expect("it answers") > 0);
                }
                write!(stream, "XADD s MAXLEN 2 * n 2 é ü\r\nXADD s MAXLEN 2 * n 3 é ü\r\nQUIT\r\n").expect("it reads");
                stream.read_to_end(&mut Vec::new()).expect("it answers");
            });
        });
        until_told(event_loop, story, "ready");
        event_loop.enter(|lp| add(lp, link, 0..1));
        until_told(event_loop, story, "entry 3 ü");
        let entries: Vec<_> = story.borrow().iter().filter(|line| line.starts_with("entry")).cloned().collect();
        assert_eq!(entries, ["entry 0 ü", "entry 2 ü", "entry 3 ü"]);
        assert_eq!(event_loop.enter(|lp| link.statistics(lp)).expect("it is open").gaps, 1);
    });
}

#[test]
fn a_reader_that_has_stopped_leaves_nothing_and_the_stream_can_be_read_again() {
    with_server(&[], |event_loop, server, story| {
        let (link, readers) = event_loop.enter(|lp| {
            let link = open(lp, options(server.port()), story);
            let readers = ["s", "s", "t"].map(|key| {
                let story = story.clone();
                link.read_stream(lp, key, move |_, entry| {
                    let number = String::from_utf8_lossy(entry.field("n").unwrap_or(b"-")).into_owned();
                    story.borrow_mut().push(format!("old {number}"));
                })
            });
            (link, readers)
        });
        until_told(event_loop, story, "ready");
        // One of two closures, and one of two streams.
        event_loop.enter(|lp| {
            link.stop_reading(lp, readers[0]);
            link.stop_reading(lp, readers[2]);
            add(lp, link, 0..1);
        });
        until_told(event_loop, story, "old 0");
        event_loop.enter(|lp| {
            link.stop_reading(lp, readers[1]);
            assert!(link.stream_position(lp, "s").is_none());
            add(lp, link, 1..2);
            note_reply(lp, link, story, &["XLEN", "s"]);
        });
        until_told(event_loop, story, "reply 2");
        until(event_loop, "the connection that reads is closed", |lp| lp.metrics().connections == 2);
        // A second life, which a call of the program ends.
        let (id, stop) = (std::rc::Rc::new(std::cell::Cell::new(None)), story.clone());
        event_loop.enter(|lp| {
            assert!(link.is_ready(lp));
            let own = id.clone();
            id.set(Some(link.read_stream(lp, "s", move |lp, _| {
                stop.borrow_mut().push("stopped".to_owned());
                link.stop_reading(lp, own.get().expect("it is set"));
            })));
            assert!(!link.is_ready(lp));
        });
        until(event_loop, "the link is ready", |lp| link.is_ready(lp));
        event_loop.enter(|lp| add(lp, link, 2..5));
        until_told(event_loop, story, "stopped");
        event_loop.enter(|lp| note_reply(lp, link, story, &["XLEN", "s"]));
        until_told(event_loop, story, "reply 5");
        let lines = story.borrow().clone();
        let entries: Vec<_> = lines.iter().filter(|line| line.starts_with("old") || *line == "stopped").collect();
        assert_eq!(entries, ["old 0", "stopped"]);
        assert!(!lines.iter().any(|line| line.starts_with("lost")), "{lines:?}");
        // Waiting for the reader ends with the reader.
        event_loop.enter(|lp| {
            let id = link.read_stream(lp, "s", |_, _| {});
            link.stop_reading(lp, id);
        });
        until(event_loop, "the link is ready again", |lp| link.is_ready(lp));
        event_loop.enter(|lp| link.unref(lp));
        event_loop.run().expect("the loop ends");
    });
}
