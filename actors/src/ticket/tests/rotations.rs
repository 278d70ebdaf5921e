//! Keys that come and go, and epochs that are over.

use super::*;

#[test]
fn the_keys_around_the_present_one_are_good_for_as_long_as_their_tickets_and_no_others_are() {
    let next = rotation().turned(Time(NOW * 1000), false);
    let after = next.turned(Time((NOW + 1) * 1000), false);
    let before = Rotation::default();
    let long_ago = Time((NOW - 300) * 1000);
    let retired = before.turned(long_ago, false);
    let gone = retired.turned(long_ago, false);
    let sets = [rotation(), retired, gone].map(|rotation| rotation.keys(&issuer()));
    for (set, signs, refused) in [
        (0, rotation(), None),
        (0, next, None),
        (0, before, None),
        (0, after, Some(TicketError::UnknownKey)),
        (1, before, Some(TicketError::RetiredKey)),
        (2, before, Some(TicketError::UnknownKey)),
    ] {
        let ticket = sign(&claims(), &signs.signer(&issuer()));
        let keys = &sets[set];
        let found = verify(&ticket, &Expected { keys, ..expected() });
        assert_eq!(found.err(), refused, "set {set}");
    }
    // A name is not enough: each key's tickets bear its own signature.
    for (named, signs) in [(rotation(), next), (next, rotation()), (before, next)] {
        let [named, signs] = [named, signs].map(|rotation| rotation.signer(&issuer()));
        let head = URL_SAFE_NO_PAD.encode(claims::header(keys::public(&named)));
        let head = head + "." + &URL_SAFE_NO_PAD.encode(payload());
        let signature = URL_SAFE_NO_PAD.encode(signs.sign_bytes(head.as_bytes()));
        let forged = format!("{head}.{signature}");
        assert_eq!(refusal(&forged), TicketError::Signature);
    }
}

#[test]
fn an_epoch_that_was_taken_back_is_refused_by_name_and_a_later_one_is_not() {
    for (epoch, wanted) in [(0, 4), (3, 4), (4, 4), (5, 4), (u64::MAX, 4), (0, 0)] {
        let ticket = sign(&Claims { epoch, ..claims() }, &signer());
        let expected = Expected {
            epoch: wanted,
            ..expected()
        };
        let over = (epoch < wanted).then_some(TicketError::Epoch { epoch, wanted });
        assert_eq!(verify(&ticket, &expected).err(), over, "{epoch} {wanted}");
    }
    let absent = payload().replacen(r#","ep":4"#, "", 1);
    let missing = TicketError::Missing {
        member: "ep".into(),
    };
    assert_eq!(refusal(&signed(&header(), &absent)), missing);
    for text in [r#""4""#, "null", "[4]"] {
        let wrong = payload().replacen(r#""ep":4"#, &format!(r#""ep":{text}"#), 1);
        let error = refusal(&signed(&header(), &wrong));
        assert!(matches!(error, TicketError::Type { member, .. } if member == "ep"));
    }
}
