//! A ticket has one spelling: every other is refused by the name of its fault.

use super::*;

#[test]
fn what_is_not_three_short_parts_is_refused_before_it_is_decoded() {
    let ticket = sign(&claims(), &signer());
    for (text, parts) in [
        ("", 1),
        (".", 2),
        ("..", 3),
        (&*format!("{ticket}.."), 5),
        ("a.b.c.d.e", 5),
    ] {
        if parts == 3 {
            assert!(json("header", JsonFault::End)(&refusal(text)));
        } else {
            assert_eq!(refusal(text), TicketError::Parts { parts });
        }
    }
    for bytes in [TICKET_BYTES_MAX + 1, 1 << 20] {
        let long = ".".repeat(bytes);
        assert_eq!(
            refusal(&long),
            TicketError::TooLong {
                bytes: bytes as u64
            }
        );
    }
}

#[test]
fn every_part_has_one_encoding() {
    let ticket = sign(&claims(), &signer());
    let [head, body, tail] = ticket.split('.').collect::<Vec<_>>()[..] else {
        panic!("a ticket has three parts");
    };
    let cases = [
        (format!("{head}=.{body}.{tail}"), "header"),
        (format!(" {head}.{body}.{tail}"), "header"),
        (format!("{head}\n.{body}.{tail}"), "header"),
        (format!("{head}.{body}.{tail}=="), "signature"),
        (format!("{head}.{body}.{tail} "), "signature"),
        (
            format!("{head}.{body}.{}", tail.replace(['-', '_'], "+") + "+"),
            "signature",
        ),
    ];
    for (ticket, part) in cases {
        assert_eq!(
            refusal(&ticket),
            TicketError::Encoding { part: part.into() },
            "{ticket}"
        );
    }
    // The last digit of 64 bytes carries four bits that mean nothing; only zeros are accepted there.
    let sloppy = URL_SAFE_NO_PAD.encode([0xFF; 64]).replace("_w", "_x");
    assert_eq!(
        refusal(&format!("{head}.{body}.{sloppy}")),
        TicketError::Encoding {
            part: "signature".into()
        }
    );
}

#[test]
fn json_in_any_other_spelling_is_refused() {
    let good = payload();
    let cases = [
        (
            good.replacen(r#""sub""#, r#""iss":"x","sub""#, 1),
            JsonFault::Duplicate,
        ),
        (
            good.replacen(r#""kid""#, r#""kid":"x","kid""#, 1),
            JsonFault::Duplicate,
        ),
        (format!("\u{feff}{good}"), JsonFault::Unexpected),
        (format!(" {good}"), JsonFault::Unexpected),
        (good.replacen(':', ": ", 1), JsonFault::Unexpected),
        (format!("{good} "), JsonFault::Trailing),
        (format!("{good}{good}"), JsonFault::Trailing),
        (format!("[{good}]"), JsonFault::Unexpected),
        (good[..good.len() - 1].to_owned(), JsonFault::End),
        (good.replacen("scp", r"sc\u0070", 1), JsonFault::String),
        (good.replacen("scp", "sc\0", 1), JsonFault::String),
        (
            good.replacen(r#"{"kid""#, r#"{"a":{},"kid""#, 1),
            JsonFault::Unexpected,
        ),
        (
            format!(
                "{{{}}}",
                (0..33)
                    .map(|n| format!(r#""m{n}":0"#))
                    .collect::<Vec<_>>()
                    .join(",")
            ),
            JsonFault::TooMany,
        ),
        (String::new(), JsonFault::End),
    ];
    for (payload, fault) in cases {
        let error = refusal(&signed(&header(), &payload));
        assert!(json("claims", fault)(&error), "{payload}: {error}");
    }
}

#[test]
fn claims_that_are_out_of_place_unknown_or_of_another_type_are_refused_by_name() {
    let good = payload();
    let swapped = good
        .replacen(r#""att":1,"#, "", 1)
        .replacen(r#""mxi""#, r#""att":1,"mxi""#, 1);
    let unexpected = |member: &str| TicketError::Unexpected {
        member: member.into(),
    };
    assert_eq!(refusal(&signed(&header(), &swapped)), unexpected("mdl"));
    let more = good.replacen(r#""scp":"chat""#, r#""scp":"chat","admin":1"#, 1);
    assert_eq!(refusal(&signed(&header(), &more)), unexpected("admin"));
    let worker = claims().worker.to_string();
    let cases = [
        (
            "aud",
            good.replacen(&format!(r#""{worker}""#), &format!(r#"["{worker}"]"#), 1),
        ),
        ("aud", good.replacen(&worker, &worker.to_uppercase(), 1)),
        ("sub", good.replacen(&claims().payer.to_string(), "0404", 1)),
        (
            "cnf",
            good.replacen(r#""cnf":{"kid":"#, r#""cnf":"#, 1)
                .replacen("},", ",", 1),
        ),
        ("att", good.replacen(r#""att":1"#, r#""att":4294967296"#, 1)),
        (
            "mxo",
            good.replacen(r#""mxo":18446744073709551615"#, r#""mxo":"all""#, 1),
        ),
    ];
    for (claim, payload) in cases {
        let error = refusal(&signed(&header(), &payload));
        let is_type = matches!(&error, TicketError::Type { member, .. } if member == claim);
        assert!(is_type, "{claim}: {error}");
    }
}
