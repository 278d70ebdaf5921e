//! What a transfer decides, answer by answer.

use super::*;

fn wanted(size: Option<u64>, known: bool) -> Wanted {
    Wanted {
        address: Address::parse("https://a.example/x.gguf").unwrap(),
        size,
        known,
        here: None,
        insecure: false,
    }
}

fn begun(have: u64, mark: Option<&str>) -> Begun {
    Begun {
        have,
        size: Some(100),
        mark: mark.map(str::to_owned),
    }
}

fn transfer(known: bool, from: Begun) -> Transfer {
    Transfer::new(wanted(None, known), Patience::default(), 7, from)
}

fn head(status: u16) -> Head {
    Head {
        status,
        etag: Some("\"a\"".to_owned()),
        ..Head::default()
    }
}

fn redirect(location: &str) -> Head {
    Head {
        location: Some(location.to_owned()),
        ..head(302)
    }
}

fn part(first: u64, total: u64) -> Head {
    Head {
        range: Some((Some(first), Some(total))),
        ..head(206)
    }
}

#[test]
fn the_rest_is_asked_for_only_where_it_must_belong_to_what_is_here() {
    let cases = [
        (false, begun(0, None), None, None),
        (false, begun(40, None), None, None),
        (false, begun(40, Some("\"a\"")), Some(40), Some("\"a\"")),
        (true, begun(40, None), Some(40), None),
        (true, begun(40, Some("\"a\"")), Some(40), Some("\"a\"")),
    ];
    for (known, from, asked, if_range) in cases {
        let ask = transfer(known, from.clone()).ask();
        assert_eq!(
            (ask.from, ask.if_range.as_deref()),
            (asked, if_range),
            "{from:?}"
        );
    }
    assert_eq!(transfer(false, begun(100, None)).begin(), Next::Whole);
}

#[test]
fn a_weak_mark_is_none_and_a_date_is_one() {
    let mut transfer = transfer(false, Begun::default());
    let weak = Head {
        etag: Some("W/\"a\"".to_owned()),
        modified: Some("Sat, 21 Nov 2026 10:00:00 GMT".to_owned()),
        ..head(200)
    };
    assert_eq!(transfer.answered(&weak), Next::Body { from_start: true });
    assert_eq!(transfer.mark(), Some("Sat, 21 Nov 2026 10:00:00 GMT"));
}

#[test]
fn a_part_is_taken_only_if_it_is_the_one_that_was_asked_for_of_the_same_file() {
    let begin = || transfer(false, begun(40, Some("\"a\"")));
    assert_eq!(
        begin().answered(&part(40, 100)),
        Next::Body { from_start: false }
    );
    let other_mark = Head {
        etag: Some("\"b\"".to_owned()),
        ..part(40, 100)
    };
    for head in [part(39, 100), part(40, 101), other_mark, head(206)] {
        let mut transfer = begin();
        assert!(
            matches!(transfer.answered(&head), Next::Pause { .. }),
            "{head:?}"
        );
        assert_eq!((transfer.have(), transfer.ask().from), (0, None));
    }
    // One that nobody asked for is no answer.
    let mut fresh = transfer(false, Begun::default());
    assert!(matches!(
        fresh.answered(&part(0, 100)),
        Next::Stop(Stop::Refused { .. })
    ));
}

#[test]
fn a_redirect_drops_the_token_at_another_origin_and_never_leaves_tls() {
    let mut transfer = transfer(false, Begun::default());
    assert!(transfer.ask().token);
    assert_eq!(transfer.answered(&redirect("/y")), Next::Ask);
    assert!(transfer.ask().token);
    assert_eq!(
        transfer.answered(&redirect("https://b.example/y")),
        Next::Ask
    );
    assert!(!transfer.ask().token);
    // Back where it began, the token is good again; elsewhere it never is.
    assert_eq!(
        transfer.answered(&redirect("https://a.example/z")),
        Next::Ask
    );
    assert!(transfer.ask().token);
    for location in ["http://a.example/x", "http://127.0.0.1/x"] {
        let Next::Stop(Stop::Refused { message }) = transfer.answered(&redirect(location)) else {
            panic!("{location} was followed");
        };
        assert!(message.contains("from https to http"), "{message}");
    }
    assert!(matches!(transfer.answered(&head(302)), Next::Stop(_)));
}

#[test]
fn after_a_failure_the_first_address_is_asked_again() {
    let mut transfer = transfer(false, Begun::default());
    transfer.answered(&redirect("https://b.example/signed"));
    assert!(matches!(transfer.broke(Broken::Silent), Next::Pause { .. }));
    assert_eq!(transfer.ask().address, wanted(None, false).address);
}

#[test]
fn pauses_double_up_to_a_limit_with_chance_in_them_and_end() {
    let pauses = |seed| {
        let mut transfer = Transfer::new(
            wanted(None, false),
            Patience::default(),
            seed,
            Begun::default(),
        );
        let mut pauses = Vec::new();
        loop {
            match transfer.answered(&head(503)) {
                Next::Pause { ms } => pauses.push(ms),
                Next::Stop(Stop::GivenUp { attempts: 8, .. }) => return pauses,
                next => panic!("{next:?}"),
            }
        }
    };
    let (one, two) = (pauses(1), pauses(2));
    assert_ne!(one, two);
    for (index, pause) in one.iter().enumerate() {
        let whole = (500 << index).min(30_000);
        assert!((whole / 2..=whole).contains(pause), "{index}: {pause}");
    }
    assert_eq!(one.len(), 7);
}

#[test]
fn a_byte_a_time_is_not_for_ever() {
    let mut transfer = transfer(false, Begun::default());
    let first = Head {
        length: Some(100_000),
        ..head(200)
    };
    assert_eq!(transfer.answered(&first), Next::Body { from_start: true });
    for attempts in 1.. {
        transfer.arrived(1, 0).unwrap();
        match transfer.broke(Broken::Cut(String::new())) {
            Next::Pause { .. } => {}
            next => {
                assert!(matches!(next, Next::Stop(Stop::GivenUp { .. })));
                assert_eq!(attempts, Patience::default().attempts_max);
                break;
            }
        }
        assert_eq!(
            transfer.answered(&part(u64::from(attempts), 100_000)),
            Next::Body { from_start: false }
        );
    }
    // And within one answer: bytes that come too slowly end it.
    let mut transfer = Transfer::new(wanted(None, true), Patience::default(), 7, Begun::default());
    transfer.answered(&first);
    let slow = (0..100).find_map(|_| transfer.arrived(1, 20_000).err());
    assert!(matches!(slow, Some(Next::Pause { .. })));
}

#[test]
fn more_than_promised_and_other_than_known_is_a_wrong_length() {
    let known = || {
        Transfer::new(
            wanted(Some(100), true),
            Patience::default(),
            7,
            Begun::default(),
        )
    };
    let of = |length| Head {
        length: Some(length),
        ..head(200)
    };
    let wrong = |found| {
        Next::Stop(Stop::Length {
            expected: 100,
            found,
        })
    };
    assert_eq!(known().answered(&of(99)), wrong(99));
    let mut transfer = known();
    assert_eq!(transfer.answered(&of(100)), Next::Body { from_start: true });
    assert_eq!(transfer.arrived(100, 0), Ok(()));
    assert_eq!(transfer.arrived(1, 0), Err(wrong(101)));
    // The server has fewer than it promised before.
    let mut transfer = super::tests::transfer(false, begun(60, Some("\"a\"")));
    let none = Head {
        range: Some((None, Some(60))),
        ..head(416)
    };
    assert_eq!(transfer.answered(&none), wrong(60));
}

#[test]
fn a_name_that_nobody_answers_to_is_given_up_sooner_than_a_server_that_was_there() {
    let failures = |reached: bool| {
        let mut transfer = transfer(false, Begun::default());
        if reached {
            transfer.answered(&head(503));
        }
        let broken = || Broken::Unreached("no such name".to_owned());
        (1..)
            .find(|_| matches!(transfer.broke(broken()), Next::Stop(_)))
            .unwrap()
    };
    assert_eq!((failures(false), failures(true)), (3, 7));
}
