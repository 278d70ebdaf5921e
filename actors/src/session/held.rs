//! Tokens that wait for their text.
//!
//! A client that asked for probabilities gets each token with the text that it ends in: held back as long as
//! its bytes are, because they may be of a stop string or of a character that is not whole, and dropped with
//! them if they are never shown. A token that the text ends inside of is told with what is shown of it.

use super::protocol::Told;
use std::collections::VecDeque;

/// The tokens of one choice whose text is not certain yet.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// With the place in the choice's bytes where each begins and ends.
    tokens: VecDeque<(u64, u64, Told)>,
    bytes: u64,
}

impl Held {
    /// The next token.
    pub(super) fn push(&mut self, token: Told) {
        let begins = self.bytes;
        self.bytes += token.bytes.len() as u64;
        self.tokens.push_back((begins, self.bytes, token));
    }

    /// The tokens that end within the first `told` bytes, which are certain now.
    pub(super) fn certain(&mut self, told: u64) -> Vec<Told> {
        let count = self.tokens.partition_point(|(_, ends, _)| *ends <= told);
        self.take(count)
    }

    /// All that begin before `end`, where the text is over; and those without bytes that stand just before it,
    /// which may have been told before anybody knew where it ends.
    pub(super) fn until(&mut self, end: u64) -> Vec<Told> {
        let before = |(begins, ends, _): &(u64, u64, Told)| *begins < end || *ends <= end;
        let count = self.tokens.partition_point(before);
        let tokens = self.take(count);
        self.tokens.clear();
        tokens
    }

    /// All of them: no more bytes will come.
    pub(super) fn rest(&mut self) -> Vec<Told> {
        self.take(self.tokens.len())
    }

    fn take(&mut self, count: usize) -> Vec<Told> {
        self.tokens
            .drain(..count)
            .map(|(_, _, token)| token)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Answer;
    use super::super::protocol::Delivery;
    use crate::generate::{Event, Finish, Generate, Likely, Prompt};
    use crate::ids::{NodeId, Passport};

    /// What a client is shown of `pieces`: text and the ids told with it, one pair for each delivery.
    fn shown(pieces: &[&[u8]], finish: Finish) -> Vec<(String, Vec<u32>)> {
        let mut answer = Answer::new(&Generate {
            tokens_max: 100,
            stop: vec!["END".to_owned()],
            logprobs: Some(0),
            ..Generate::new(Passport([0; 32]), Prompt::Tokens(vec![1]))
        });
        let mut events = vec![Event::Started { prompt: vec![1] }];
        events.extend((0..).zip(pieces).map(|(position, piece)| Event::Token {
            choice: 0,
            position,
            id: position,
            bytes: piece.to_vec(),
            odds: vec![Likely {
                id: position,
                bytes: piece.to_vec(),
                logprob: (-1.0).into(),
            }],
        }));
        events.push(Event::Ended {
            choice: 0,
            tokens: pieces.len() as u32,
            finish,
        });
        let mut shown = Vec::new();
        for event in events {
            let say = |delivery| {
                if let Delivery::Text { text, tokens, .. } = delivery {
                    let ids = tokens.iter().map(|token| token.odds[0].id);
                    shown.push((text, ids.collect()));
                }
            };
            let taken = answer.take(event, NodeId([0; 32]), say);
            assert_eq!(taken, Ok(()));
        }
        shown
    }

    #[test]
    fn a_token_is_told_with_the_text_it_ends_in() {
        type Shown<'a> = &'a [(&'a str, &'a [u32])];
        let cases: &[(&[&[u8]], Finish, Shown)] = &[
            (&[b"a", b"b"], Finish::Length, &[("a", &[0]), ("b", &[1])]),
            // Held back as a stop string's beginning, and none after all.
            (
                &[b"a", b"E", b"N", b"o"],
                Finish::Length,
                &[("a", &[0]), ("ENo", &[1, 2, 3])],
            ),
            (&[b"a", b"EN"], Finish::Length, &[("a", &[0]), ("EN", &[1])]),
            // A stop string: what is of it alone is dropped, what begins before it is told.
            (&[b"a", b"EN", b"D"], Finish::Stop, &[("a", &[0])]),
            (
                &[b"a", b"bE", b"ND"],
                Finish::Stop,
                &[("a", &[0]), ("b", &[]), ("", &[1])],
            ),
            // A control token before a stop string is told, whether it had to wait or not.
            (
                &[b"a", b"", b"END"],
                Finish::Stop,
                &[("a", &[0]), ("", &[1])],
            ),
            (&[b"E", b"", b"END"], Finish::Stop, &[("E", &[0, 1])]),
            // Halves of a character come with the whole.
            (
                &[b"\xc3", b"\xa9", b"\xc3"],
                Finish::Length,
                &[("\u{e9}", &[0, 1]), ("", &[2])],
            ),
            // A control token has no bytes and keeps its place.
            (
                &[b"\xc3", b"", b"\xa9", b""],
                Finish::Stop,
                &[("\u{e9}", &[0, 1, 2]), ("", &[3])],
            ),
        ];
        for (pieces, finish, expected) in cases {
            let expected: Vec<(String, Vec<u32>)> = (expected.iter())
                .map(|(text, ids)| ((*text).to_owned(), ids.to_vec()))
                .collect();
            assert_eq!(shown(pieces, *finish), expected, "{pieces:?}");
        }
    }

    #[test]
    fn odds_that_were_not_asked_for_or_are_of_another_token_are_not_believed() {
        let odds = |id, count| {
            let one = Likely {
                id,
                bytes: Vec::new(),
                logprob: (-1.0).into(),
            };
            vec![one; count]
        };
        let cases = [
            (None, odds(7, 0), true),
            (None, odds(7, 1), false),
            (Some(2), odds(7, 0), false),
            (Some(2), odds(8, 1), false),
            (Some(2), odds(7, 3), true),
            (Some(2), odds(7, 4), false),
        ];
        for (logprobs, odds, believed) in cases {
            let mut answer = Answer::new(&Generate {
                logprobs,
                ..Generate::new(Passport([0; 32]), Prompt::Tokens(vec![1]))
            });
            let started = Event::Started { prompt: vec![1] };
            let worker = NodeId([0; 32]);
            assert_eq!(answer.take(started, worker, drop), Ok(()));
            let event = Event::Token {
                choice: 0,
                position: 0,
                id: 7,
                bytes: Vec::new(),
                odds,
            };
            assert_eq!(answer.take(event, worker, drop).is_ok(), believed);
        }
    }
}
