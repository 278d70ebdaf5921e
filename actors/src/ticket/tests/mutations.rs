//! Many tickets that are nearly good, and what looking at one costs.
//!
//! A leaf: it reads the environment for how many, and a clock to measure.

use super::*;

/// xorshift64*: enough dice for mutations, and the same ones every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}

/// `TROOP_TICKET_MUTATIONS` asks for more than the 100,000 of an ordinary run.
#[test]
fn no_mutated_ticket_is_accepted() {
    let wanted = std::env::var("TROOP_TICKET_MUTATIONS").ok();
    let count: u64 = wanted
        .and_then(|count| count.parse().ok())
        .unwrap_or(100_000);
    let good = sign(&claims(), &signer());
    let parts: Vec<String> = [header(), payload()].into();
    let mut dice = Dice(0x7472_6f6f_7001);
    let expected = expected();
    for _ in 0..count {
        let mut bytes = good.clone().into_bytes();
        match dice.below(4) {
            // The text itself: change, drop, repeat or insert characters.
            0..=2 => {
                for _ in 0..=dice.below(3) {
                    let at = dice.below(bytes.len());
                    match dice.below(4) {
                        0 => bytes[at] ^= 1 << dice.below(7),
                        1 => drop(bytes.remove(at)),
                        2 => bytes.insert(at, b"ABz09-_.= {\"\n"[dice.below(13)]),
                        _ => bytes.truncate(at.max(4)),
                    }
                }
            }
            // What the text says, under the signature of the good one.
            _ => {
                let which = dice.below(2);
                let mut said = parts.clone();
                let mut inner = said[which].clone().into_bytes();
                let at = dice.below(inner.len());
                inner[at] = b' ' + dice.below(95) as u8;
                said[which] = String::from_utf8(inner).expect("still ASCII");
                let signature = good.rsplit_once('.').expect("a ticket has dots").1;
                let [header, payload] =
                    [&said[0], &said[1]].map(|text| URL_SAFE_NO_PAD.encode(text));
                bytes = format!("{header}.{payload}.{signature}").into_bytes();
            }
        }
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        if text != good {
            assert!(verify(&text, &expected).is_err(), "accepted: {text}");
        }
    }
}

/// Prints the time of a verification and of a refusal; the target is 100 µs and 50 µs with optimization.
#[test]
#[allow(clippy::disallowed_methods)] // This measures, so it reads the clock.
fn verifying_takes_microseconds() {
    let good = sign(&claims(), &signer());
    let unknown = signed(
        &header().replace(&key_name(set().current), "someone"),
        &payload(),
    );
    // Made once: deriving keys from secrets takes longer than looking at a ticket.
    let expected = expected();
    for (name, ticket) in [("good", good), ("unknown key", unknown)] {
        let begun = std::time::Instant::now();
        let accepted = (0..1000)
            .filter(|_| verify(&ticket, &expected).is_ok())
            .count();
        println!("{name}: {} ns a ticket", begun.elapsed().as_nanos() / 1000);
        assert_eq!(accepted, if name == "good" { 1000 } else { 0 });
    }
}
