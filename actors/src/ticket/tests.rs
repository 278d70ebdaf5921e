//! Every vector of the CVE classes, by name; and mutations of a good ticket, none of which is one.

use super::*;
use crate::contract::Time;
use std::sync::OnceLock;

const NOW: u64 = 1_800_000_000;

fn issuer() -> NodeKey {
    NodeKey::from_secret([1; 32])
}

/// The key that the issuer signs tickets with now, and those around it.
fn rotation() -> Rotation {
    Rotation::default().turned(Time((NOW - 10) * 1000), false)
}

fn signer() -> NodeKey {
    rotation().signer(&issuer())
}

fn set() -> &'static KeySet {
    static SET: OnceLock<KeySet> = OnceLock::new();
    SET.get_or_init(|| rotation().keys(&issuer()))
}

fn claims() -> Claims {
    let request = RequestId([3; 16]);
    let hold = HoldId::of(request);
    Claims {
        issuer: issuer().node(),
        payer: MemberId([4; 16]),
        worker: NodeKey::from_secret([5; 32]).node(),
        client: NodeKey::from_secret([6; 32]).node(),
        issued_at: NOW,
        issued_ms: 7,
        expires_at: NOW + LIFETIME_SECONDS,
        attempt: AttemptId::of(hold, 1),
        hold,
        request,
        number: 1,
        model: Passport([7; 32]),
        class: Class::of("class"),
        prompt_bytes_max: 1234,
        completion_tokens_max: u64::MAX,
        prices: crate::price::Prices::REFERENCE.version(),
        cost_max: 99,
        stream_seconds_max: 3600,
        epoch: 4,
    }
}

fn expected() -> Expected<'static> {
    Expected {
        issuer: issuer().node(),
        keys: set(),
        epoch: 4,
        worker: claims().worker,
        client: claims().client,
        now_seconds: NOW + 1,
    }
}

/// A ticket of any two texts, honestly signed.
fn signed(header: &str, payload: &str) -> String {
    let head = URL_SAFE_NO_PAD.encode(header) + "." + &URL_SAFE_NO_PAD.encode(payload);
    let signature = signer().sign_bytes(head.as_bytes());
    format!("{head}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn header() -> String {
    claims::header(set().current)
}

fn payload() -> String {
    claims::write(&claims())
}

fn refusal(ticket: &str) -> TicketError {
    verify(ticket, &expected()).expect_err("this ticket must not be accepted")
}

fn json(part: &str, fault: JsonFault) -> impl Fn(&TicketError) -> bool {
    let part = part.to_owned();
    move |error| matches!(error, TicketError::Json { part: p, fault: f, .. } if *p == part && *f == fault)
}

#[test]
fn a_good_ticket_says_what_was_signed_and_has_one_spelling() {
    let ticket = sign(&claims(), &signer());
    assert_eq!(verify(&ticket, &expected()), Ok(claims()));
    assert_eq!(signed(&header(), &payload()), ticket);
    assert!(ticket.len() < 1400, "{} bytes", ticket.len());
}

#[test]
fn no_other_algorithm_is_ever_believed() {
    for algorithm in [
        "none", "None", "nOnE", "NONE", "", "HS256", "RS256", "ES256", "Ed25519", "eddsa",
    ] {
        let header = header().replace("EdDSA", algorithm);
        assert_eq!(
            refusal(&signed(&header, &payload())),
            TicketError::Algorithm,
            "{algorithm}"
        );
        let head = URL_SAFE_NO_PAD.encode(&header) + "." + &URL_SAFE_NO_PAD.encode(payload());
        assert_eq!(
            refusal(&format!("{head}.")),
            TicketError::Algorithm,
            "{algorithm}"
        );
    }
    let unsigned = URL_SAFE_NO_PAD.encode(header()) + "." + &URL_SAFE_NO_PAD.encode(payload());
    assert_eq!(refusal(&format!("{unsigned}.")), TicketError::Signature);
}

#[test]
fn the_issuers_public_key_is_no_secret_to_sign_with() {
    // HMAC-SHA256 under the public key in the forms that libraries have confused with a secret.
    let public = set().current.0;
    let body = base64::engine::general_purpose::STANDARD.encode(public);
    let forms = [
        public.to_vec(),
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n").into_bytes(),
        format!("ssh-ed25519 {body} issuer").into_bytes(),
        format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#,
            URL_SAFE_NO_PAD.encode(public)
        )
        .into_bytes(),
    ];
    for secret in forms {
        let hs256 = header().replace("EdDSA", "HS256");
        for (header, refused) in [
            (hs256, TicketError::Algorithm),
            (header(), TicketError::Signature),
        ] {
            let head = URL_SAFE_NO_PAD.encode(header) + "." + &URL_SAFE_NO_PAD.encode(payload());
            let mac = hmac_sha256(&secret, head.as_bytes());
            assert_eq!(
                refusal(&format!("{head}.{}", URL_SAFE_NO_PAD.encode(mac))),
                refused
            );
        }
    }
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0u8; 64];
    match key.len() {
        0..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&sha2::Sha256::digest(key)),
    }
    let inner = sha2::Sha256::digest([&block.map(|byte| byte ^ 0x36), message].concat());
    sha2::Sha256::digest([&block.map(|byte| byte ^ 0x5c)[..], &inner].concat()).into()
}

#[test]
fn a_key_name_is_compared_and_never_looked_up() {
    let long = "k".repeat(4096 / 2);
    for kid in [
        "../../dev/null",
        "' OR 1",
        "https://evil.example/key",
        "",
        &long,
    ] {
        let header = header().replace(&key_name(set().current), kid);
        assert_eq!(
            refusal(&signed(&header, &payload())),
            TicketError::UnknownKey,
            "{kid}"
        );
    }
    for kid in ["\0", "kéy", "a\\u0000b", "k\n"] {
        let header = header().replace(&key_name(set().current), kid);
        assert!(
            json("header", JsonFault::String)(&refusal(&signed(&header, &payload()))),
            "{kid:?}"
        );
    }
    let other = NodeKey::from_secret([9; 32]);
    let claims = Claims {
        issuer: other.node(),
        ..claims()
    };
    assert_eq!(refusal(&sign(&claims, &other)), TicketError::UnknownKey);
    // The key that members pin signs no tickets.
    assert_eq!(refusal(&sign(&claims, &issuer())), TicketError::UnknownKey);
}

#[test]
fn a_key_or_an_extension_in_the_header_is_refused_by_name() {
    let extras = [
        ("jwk", r#"{"kty":"OKP","x":"AA"}"#),
        ("jku", r#""https://evil.example""#),
        ("x5u", r#""https://evil.example""#),
        ("x5c", r#"["AA"]"#),
        ("crit", r#"["exp"]"#),
        ("b64", "false"),
        ("zip", r#""DEF""#),
        ("enc", r#""A256GCM""#),
        ("cty", r#""JWT""#),
    ];
    for (name, value) in extras {
        let unexpected = TicketError::Unexpected {
            member: name.into(),
        };
        let last = header().replace('}', &format!(r#","{name}":{value}}}"#));
        assert_eq!(
            refusal(&signed(&last, &payload())),
            unexpected,
            "{name} last"
        );
        let first = header().replace('{', &format!(r#"{{"{name}":{value},"#));
        assert_eq!(
            refusal(&signed(&first, &payload())),
            unexpected,
            "{name} first"
        );
    }
}

#[test]
fn zero_malleable_and_small_order_signatures_do_not_verify() {
    let ticket = sign(&claims(), &signer());
    let (head, signature) = ticket.rsplit_once('.').expect("a ticket has dots");
    let with = |bytes: &[u8]| format!("{head}.{}", URL_SAFE_NO_PAD.encode(bytes));
    let good = URL_SAFE_NO_PAD.decode(signature).expect("just encoded");
    assert_eq!(refusal(&with(&[0; 64])), TicketError::Signature);
    assert_eq!(refusal(&with(&good[..63])), TicketError::Signature);
    assert_eq!(
        refusal(&with(&[good.as_slice(), &[0]].concat())),
        TicketError::Signature
    );
    // S + L is the same scalar in another spelling.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut other = good.clone();
    let mut carry = 0u16;
    for (byte, order) in other[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(refusal(&with(&other)), TicketError::Signature);
    // The neutral element as a public key verifies anything under lax rules.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let issuer = NodeId(neutral);
    let claims = Claims { issuer, ..claims() };
    let small = KeySet {
        current: TicketKey(neutral),
        ..set().clone()
    };
    let head = URL_SAFE_NO_PAD.encode(claims::header(small.current))
        + "."
        + &URL_SAFE_NO_PAD.encode(claims::write(&claims));
    let mut forged = [0; 64];
    forged[0] = 1;
    let ticket = format!("{head}.{}", URL_SAFE_NO_PAD.encode(forged));
    let expected = Expected {
        issuer,
        keys: &small,
        ..expected()
    };
    assert_eq!(verify(&ticket, &expected), Err(TicketError::Signature));
}

#[test]
fn a_time_of_another_type_is_refused_and_never_taken_for_absent() {
    let end = NOW + LIFETIME_SECONDS;
    for (claim, value) in [("iat", NOW), ("nbf", NOW), ("exp", end)] {
        let right = format!(r#""{claim}":{value}"#);
        assert!(payload().contains(&right));
        let wrong = |text: &str| {
            let payload = payload().replacen(&right, &format!(r#""{claim}":{text}"#), 1);
            refusal(&signed(&header(), &payload))
        };
        for text in ["null", "true", "[1]", r#""99999999999""#, "{}"] {
            let is_type =
                matches!(wrong(text), TicketError::Type { member, .. } if member == claim);
            assert!(is_type, "{claim} as {text}");
        }
        for text in [
            "-1",
            "1e308",
            "1.5",
            "1e10",
            "0x10",
            "01800000000",
            "18446744073709551616",
            "--",
            "1-",
        ] {
            let error = wrong(text);
            let fault = |fault| json("claims", fault)(&error);
            assert!(
                fault(JsonFault::Number) || fault(JsonFault::Unexpected),
                "{claim} as {text}: {error}"
            );
        }
        let absent = payload().replacen(&format!("{right},"), "", 1);
        let missing = TicketError::Missing {
            member: claim.into(),
        };
        assert_eq!(refusal(&signed(&header(), &absent)), missing);
    }
}

#[test]
fn a_ticket_lives_within_its_times_and_no_longer_than_any() {
    let at = |now_seconds| {
        verify(
            &sign(&claims(), &signer()),
            &Expected {
                now_seconds,
                ..expected()
            },
        )
    };
    assert_eq!(at(NOW - 6), Err(TicketError::Early { seconds: 1 }));
    assert!(at(NOW - 5).is_ok());
    assert!(at(NOW + 124).is_ok());
    assert_eq!(at(NOW + 125), Err(TicketError::Expired { seconds: 5 }));
    assert_eq!(at(0), Err(TicketError::Early { seconds: NOW - 5 }));
    assert_eq!(
        at(u64::MAX),
        Err(TicketError::Expired {
            seconds: u64::MAX - NOW - 120
        })
    );
    for (issued_at, expires_at) in [(NOW, NOW), (NOW, NOW - 1), (NOW, NOW + 121), (0, u64::MAX)] {
        let claims = Claims {
            issued_at,
            expires_at,
            ..claims()
        };
        assert_eq!(refusal(&sign(&claims, &signer())), TicketError::Lifetime);
    }
    let later = payload().replace(&format!(r#""nbf":{NOW}"#), r#""nbf":7"#);
    assert_eq!(refusal(&signed(&header(), &later)), TicketError::Lifetime);
}

#[test]
fn a_ticket_is_good_for_one_issuer_worker_client_and_use() {
    let other = NodeId([8; 32]);
    let cases = [
        (
            Claims {
                worker: other,
                ..claims()
            },
            TicketError::Audience,
        ),
        (
            Claims {
                client: other,
                ..claims()
            },
            TicketError::Client,
        ),
    ];
    for (claims, refused) in cases {
        assert_eq!(refusal(&sign(&claims, &signer())), refused);
    }
    let foreign = payload().replacen(&issuer().node().to_string(), &other.to_string(), 1);
    assert_eq!(refusal(&signed(&header(), &foreign)), TicketError::Issuer);
    for scope in ["*", "", "embed", "chat embed"] {
        let payload = payload().replace(r#""scp":"chat""#, &format!(r#""scp":"{scope}""#));
        assert_eq!(refusal(&signed(&header(), &payload)), TicketError::Scope);
    }
}

#[test]
fn another_signed_statement_is_no_ticket() {
    for kind in [
        "JWT",
        "troop-receipt+jwt",
        "troop-heartbeat+jwt",
        "TROOP-TICKET+JWT",
        "",
    ] {
        let header = header().replace("troop-ticket+jwt", kind);
        assert_eq!(
            refusal(&signed(&header, &payload())),
            TicketError::Kind,
            "{kind}"
        );
    }
}

mod mutations;
mod rotations;
mod spelling;
