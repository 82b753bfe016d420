use super::*;

fn messages(text: &str) -> Messages {
    Messages::one(Template::parse(&unescape(text).unwrap()).unwrap(), LineEnd::AsIs)
}

#[test]
fn escapes() {
    let table: &[(&str, Option<&[u8]>)] = &[
        ("hola", Some(b"hola")),
        (r"a\n\r\t\\", Some(b"a\n\r\t\\")),
        (r"\x00\xfF", Some(b"\x00\xff")),
        ("ñ", Some("ñ".as_bytes())),
        (r"\", None),
        (r"\q", None),
        (r"\x", None),
        (r"\x1", None),
        (r"\xgg", None),
        (r"\x+1", None),
    ];
    for (text, want) in table {
        assert_eq!(unescape(text).ok().as_deref(), *want, "{text:?}");
    }
}

#[test]
fn placeholders() {
    let text = |template: &str, conn, seq| String::from_utf8(messages(template).text(conn, seq)).unwrap();
    assert_eq!(text(r"{conn}:{seq}\n", 12, 0), "12:0\n");
    assert_eq!(text("{\"a\":{seq}} {x} {", 1, 34), "{\"a\":34} {x} {");
    let rand = text("{rand:100}", 0, 0);
    assert!(rand.len() == 100 && rand.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_ne!(rand, text("{rand:100}", 0, 1));
    assert_ne!(rand, text("{rand:100}", 1, 0));
    let twice = text("{rand:10}{rand:10}", 0, 0);
    assert_ne!(twice[..10], twice[10..], "each has its own letters");
    for bad in ["", "{rand:}", "{rand:0}", "{rand:x}", "{rand:5", "{rand:99999999999}"] {
        assert!(Template::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn texts_that_look_like_placeholders_are_found() {
    let table: &[(&str, &[&str])] = &[
        (r"{conn}:{seq} {rand:8}\n", &[]),
        (r#"{"conn":{conn},"list":[{"a":1},{}]}\n"#, &[]),
        ("if (a) { b(); }", &[]),
        ("{con} hola {foo}", &["{con}", "{foo}"]),
        ("{ seq } {SEQ} {rand} {rand 8} {conn3} {", &["{ seq }", "{SEQ}", "{rand}", "{rand 8}", "{conn3}"]),
        ("{{conn}} {word", &[]),
        (r"{\xff} {123} {a-b}", &[]),
    ];
    for (text, want) in table {
        assert_eq!(messages(text).mistaken().collect::<Vec<_>>(), *want, "{text}");
    }
}

#[test]
fn a_size_is_exact() {
    for line_end in [LineEnd::AsIs, LineEnd::CrLf] {
        for size in [32, 33, 1000] {
            for seq in [0, 9, 10, 123_456] {
                let text = Messages::filled(size, line_end).text(99, seq);
                assert_eq!(text.len(), size);
                assert!(text.ends_with(if line_end == LineEnd::CrLf { b"\r\n" } else { b"\n" }));
            }
        }
    }
}

#[test]
fn line_ends() {
    let table: &[(&[u8], &[u8])] =
        &[(b"a\n", b"a\r\n"), (b"a", b"a\r\n"), (b"a\r\n", b"a\r\n"), (b"\n", b"\r\n"), (b"{seq}", b"7\r\n")];
    for (text, want) in table {
        let messages = Messages::one(Template::parse(text).unwrap(), LineEnd::CrLf);
        assert_eq!(messages.text(0, 7), *want);
        assert_eq!(messages.lines(7), 1);
    }
}

#[test]
fn the_lines_of_a_file_are_used_in_turn() {
    let messages = Messages::from_file(b"a\nb\r\nc", LineEnd::AsIs).unwrap();
    let texts: Vec<_> = (0..5).map(|seq| messages.text(0, seq)).collect();
    assert_eq!(texts, [&b"a\n"[..], b"b\r\n", b"c", b"a\n", b"b\r\n"]);
    assert_eq!([0, 1, 2].map(|seq| messages.lines(seq)), [1, 1, 0]);
    assert!(Messages::from_file(b"", LineEnd::AsIs).is_err());
}

#[test]
fn equal_texts_are_listed_once() {
    let numbers = |messages: &Messages, end| messages.distinct(0, end).collect::<Vec<_>>();
    assert_eq!(numbers(&messages("hola"), 5), [4]);
    assert_eq!(numbers(&messages("{seq}"), 3), [2, 1, 0]);
    assert_eq!(numbers(&messages("{rand:9}"), 3), [2, 1, 0]);
    let file = Messages::from_file(b"a\n{seq}\nc", LineEnd::AsIs).unwrap();
    assert_eq!(numbers(&file, 8), [7, 6, 5, 4, 1]);
}

#[test]
fn a_text_is_recognised() {
    for template in [r"{conn}:{seq} {rand:32}\n", "{seq}{rand:4}", "{rand:9}{seq}", "<{seq}{seq}>"] {
        let messages = messages(template);
        for seq in [0, 1, 7, 10, 77, 100, 1234] {
            let text = messages.text(3, seq);
            assert_eq!(messages.recognize(3, &text, 2000), Some(seq), "{template}");
            assert_eq!(messages.recognize(3, &text, seq), None, "{template}: not sent yet");
            let mut flipped = text.clone();
            flipped[text.len() / 2] ^= 0x20;
            assert_ne!(messages.recognize(3, &flipped, 2000), Some(seq), "{template}");
        }
    }
    assert_eq!(messages("hola").recognize(0, b"hola", 9), None, "no number in it");
}

#[test]
fn a_message_is_found_in_a_reply_of_other_case_but_not_searched_in_a_long_one() {
    let table: &[(&str, &[u8], bool)] = &[
        (r"Hola {seq}\n", b"you said: hOLA 7!\n", true),
        (r"Hola {seq}\n", b"hola 8\n", false),
        (r"Hola {seq}\n", b"hola", false),
        ("Hola {seq}", b"", false),
        (r"\n", b"\n", false),
    ];
    for (template, reply, want) in table {
        assert_eq!(messages(template).is_in(0, 7, reply), *want, "{template} in {reply:?}");
    }
    let padded = |len: usize| [&b"hola 7"[..], &vec![b'a'; len - 6]].concat();
    let hola = messages("hola {seq}");
    assert!(hola.is_in(0, 7, &padded(SEARCHED)) && !hola.is_in(0, 7, &padded(SEARCHED + 1)));
    assert!(!messages("{rand:70000}").is_in(0, 7, b"hola"));
}

#[test]
fn the_number_of_a_text_names_its_line_of_the_file() {
    let lines = |line: fn(u32) -> String| (0..20_000).map(line).collect::<String>();
    let files = [
        lines(|n| format!("hola {n} {{seq}}\n")),
        lines(|n| format!("{{conn}}: hola {n} {{seq}}{n}\n")),
        lines(|n| if n % 2 == 0 { "ping\n".to_owned() } else { "{rand:3}{seq}\n".to_owned() }),
    ];
    for file in files {
        let messages = Messages::from_file(file.as_bytes(), LineEnd::AsIs).unwrap();
        let before = COMPARISONS.get();
        for seq in [1, 12_345, 39_999] {
            let text = messages.text(17, seq);
            assert_eq!(messages.recognize(17, &text, 40_000), Some(seq), "{}", show(&text, 100));
            assert_eq!(messages.recognize(17, &text.to_ascii_uppercase()[1..], 40_000), None);
        }
        for text in [&b"hola\n"[..], b"hola 19999 19998\n", b"12345678\n", b"ping\n"] {
            assert_eq!(messages.recognize(17, text, 40_000), None, "{}", show(text, 100));
        }
        let made = COMPARISONS.get() - before;
        assert!(made < 200, "{made} comparisons");
    }
}

#[test]
fn another_line_end_is_recognised() {
    let table: &[(&str, &[u8], bool)] = &[
        (r"hola {seq}\n", b"hola 7\r\n", true),
        (r"hola {seq}\r\n", b"hola 7\n", true),
        (r"hola {seq}\n", b"hola 7\n", false),
        (r"hola {seq}\n", b"hola 8\r\n", false),
        (r"hola {seq}\n", b"hola 7", false),
        ("hola {seq}", b"hola 7\n", false),
        (r"\n", b"\r\n", true),
        (r"\n", b"", false),
    ];
    for (template, bytes, want) in table {
        assert_eq!(messages(template).is_text_with_other_end(0, 7, bytes), *want, "{template} {bytes:?}");
    }
}

#[test]
fn bytes_are_shown_without_control_characters() {
    assert_eq!(show(b"a\x1b[2J\n", 100), r"a\x1b[2J\x0a");
    assert_eq!(show("ñ\u{85}\u{202e}".as_bytes(), 100), r"ñ\xc2\x85\xe2\x80\xae");
    // All characters with the property Bidi_Control of Unicode, and the separators.
    for c in ('\u{61c}'..='\u{61c}')
        .chain('\u{200e}'..='\u{200f}')
        .chain('\u{2028}'..='\u{202e}')
        .chain('\u{2066}'..='\u{2069}')
    {
        assert!(show(c.to_string().as_bytes(), 100).starts_with("\\x"), "{c:?}");
    }
    assert_eq!(show(b"\xff\xc3", 100), r"\xff\xc3");
    assert_eq!(show(b"aaaa", 2), "aa… (4 bytes)");
}
