//! Several namespaces over one session.

use bucle::socket_io::Options;

use super::Site;

#[test]
fn a_client_joins_several_namespaces_with_an_id_in_each() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        for name in ["/", "chat"] {
            let told = story.clone();
            io.of(lp, name).on(lp, "say", move |lp, socket, event| {
                let namespace = socket.namespace(lp).and_then(|namespace| namespace.name(lp)).expect("it is there");
                told.add(format!("{namespace} {}", event.arguments().text(0).unwrap_or_default()));
                socket.emit(lp, "said", ());
            });
        }
    });
    let peer = site.session();
    let (main, chat) = (site.enter_namespace(peer, "/", ""), site.enter_namespace(peer, "/chat", ""));
    assert_ne!(main.id, chat.id);
    site.text(peer, r#"42/chat,["say","one"]"#);
    site.expect(peer, r#"42/chat,["said"]"#);
    site.text(peer, r#"42["say","two"]"#);
    site.expect(peer, r#"42["said"]"#);
    site.expect_story(&["/chat one", "/ two"]);
}

#[test]
fn an_unknown_namespace_is_refused_and_the_session_goes_on() {
    let mut site = Site::with_defaults();
    let peer = site.session();
    for name in ["/unknown", "/__proto__", "/constructor", "/a?b=c"] {
        site.text(peer, &format!("40{name},"));
        site.expect(peer, &format!(r#"44{name},{{"message":"Invalid namespace"}}"#));
    }
    // The comma may be missing at the end.
    site.text(peer, "40/other");
    site.expect(peer, r#"44/other,{"message":"Invalid namespace"}"#);
    site.enter_namespace(peer, "/", "");
}

#[test]
fn a_client_that_leaves_a_namespace_stays_in_the_others() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        let chat = io.of(lp, "/chat");
        chat.on_disconnect(lp, move |_, _, reason| story.add(reason.as_str()));
        io.on(lp, "hola", |lp, socket, _| {
            socket.emit(lp, "hola", ());
        });
    });
    let peer = site.session();
    site.enter_namespace(peer, "/", "");
    site.enter_namespace(peer, "/chat", "");
    site.text(peer, "41/chat,");
    site.expect_story(&["client namespace disconnect"]);
    site.text(peer, r#"42["hola"]"#);
    site.expect(peer, r#"42["hola"]"#);
    // It may join again.
    site.enter_namespace(peer, "/chat", "");
    site.text(peer, "41");
    site.settle();
    site.text(peer, r#"42["hola"]"#);
    site.expect_close(peer, 1005);
    site.expect_story(&["forced close"]);
}

#[test]
fn a_namespace_that_matches_exists_while_it_has_sockets() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    let of = |lp: &bucle::Loop, socket: bucle::socket_io::Socket| {
        socket.namespace(lp).and_then(|namespace| namespace.name(lp)).expect("it is there").to_string()
    };
    site.enter(|lp| {
        let tenants = io.of_matching(lp, |name| name.strip_prefix("/tenant-").is_some_and(|id| id.len() == 1));
        tenants.use_middleware(lp, |lp, _, next| next.allow(lp));
        let told = story.clone();
        tenants.on_connection(lp, move |lp, socket| told.add(format!("joined {}", of(lp, socket))));
        tenants.on_disconnect(lp, move |lp, socket, _| story.add(format!("left {}", of(lp, socket))));
        tenants.on(lp, "say", move |lp, socket, _| {
            let namespace = socket.namespace(lp).expect("it is there");
            namespace.emit(lp, "said", of(lp, socket));
        });
    });
    let a = site.join_with("/tenant-1", "");
    let b = site.join_with("/tenant-1", "");
    let c = site.join_with("/tenant-2", "");
    site.expect_story(&["joined /tenant-1", "joined /tenant-1", "joined /tenant-2"]);
    site.text(a.peer, r#"42/tenant-1,["say"]"#);
    for client in [&a, &b] {
        site.expect(client.peer, r#"42/tenant-1,["said","/tenant-1"]"#);
    }
    site.expect_nothing(c.peer);
    let peer = site.session();
    site.text(peer, "40/tenant-12,");
    site.expect(peer, r#"44/tenant-12,{"message":"Invalid namespace"}"#);

    site.text(a.peer, "41/tenant-1,");
    site.expect_story(&["left /tenant-1"]);
    site.text(b.peer, r#"42/tenant-1,["say"]"#);
    site.expect(b.peer, r#"42/tenant-1,["said","/tenant-1"]"#);
    site.cut(b.peer);
    site.expect_story(&["left /tenant-1"]);
}

#[test]
fn a_namespace_that_matches_is_gone_when_its_last_socket_has_left() {
    let mut site = Site::new(Options { max_dynamic_namespaces: 2, ..Options::default() });
    let io = site.io;
    site.enter(|lp| {
        io.of_matching(lp, |name| name.starts_with("/t"));
    });
    for round in 0..3 {
        let clients: Vec<_> = (0..2).map(|number| site.join_with(&format!("/t{round}{number}"), "")).collect();
        // No more than two may exist at a time.
        let peer = site.session();
        site.text(peer, "40/too-many,");
        site.expect(peer, r#"44/too-many,{"message":"Invalid namespace"}"#);
        site.cut(clients[0].peer);
        site.text(clients[1].peer, &format!("41/t{round}1,"));
        site.settle();
    }
}

#[test]
fn a_namespace_whose_only_client_was_refused_is_gone() {
    let mut site = Site::new(Options { max_dynamic_namespaces: 1, ..Options::default() });
    let io = site.io;
    site.enter(|lp| {
        let parent = io.of_matching(lp, |name| name.starts_with("/t"));
        parent.use_middleware(lp, |lp, _, next| next.refuse(lp, "no"));
    });
    let peer = site.session();
    for number in 0..5 {
        site.text(peer, &format!("40/t{number},"));
        site.expect(peer, &format!(r#"44/t{number},{{"message":"no"}}"#));
    }
}

#[test]
fn a_namespace_of_the_program_stays_when_it_is_empty() {
    let mut site = Site::with_defaults();
    let io = site.io;
    let chat = site.enter(|lp| io.of(lp, "/chat"));
    let client = site.join_with("/chat", "");
    site.text(client.peer, "41/chat,");
    site.settle();
    site.enter(|lp| {
        assert_eq!(chat.name(lp).as_deref(), Some("/chat"));
        assert_eq!(io.of(lp, "chat"), chat, "the slash in front may be missing");
        assert_eq!(chat.socket_count(lp), 0);
    });
}

#[test]
fn a_client_in_32_namespaces_cannot_join_another_one() {
    let mut site = Site::with_defaults();
    let io = site.io;
    site.enter(|lp| {
        io.of_matching(lp, |_| true);
    });
    let peer = site.session();
    for number in 0..32 {
        site.enter_namespace(peer, &format!("/{number}"), "");
    }
    site.text(peer, "40/one-more,");
    site.expect_close(peer, 1005);
}

#[test]
fn a_name_of_more_than_256_bytes_closes_the_session() {
    let mut site = Site::with_defaults();
    let io = site.io;
    site.enter(|lp| {
        io.of_matching(lp, |_| true);
    });
    let peer = site.session();
    let name = format!("/{}", "x".repeat(255));
    site.enter_namespace(peer, &name, "");
    site.text(peer, &format!("40{name}x,"));
    site.expect_close(peer, 1005);
}

#[test]
fn credentials_of_more_than_64_kib_close_the_session() {
    let mut site = Site::with_defaults();
    let io = site.io;
    site.enter(|lp| io.of(lp, "/other"));
    let peer = site.session();
    let auth = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - r#"{"a":""}"#.len()));
    let client = site.enter_namespace(peer, "/", &auth(64 * 1024));
    let socket = site.socket(&client);
    site.enter(|lp| assert!(socket.auth::<serde_json::Value>(lp).is_some()));
    site.text(peer, &format!("40/other,{}", auth(64 * 1024 + 1)));
    site.expect_close(peer, 1005);
}
