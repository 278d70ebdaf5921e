//! How values follow each other on a stream between nodes.
//!
//! ```text
//! kind u8 │ version u8 │ length, 7 bits a byte, low first │ the value
//! ```
//!
//! A reader knows what a frame is and how long before it takes any of it: what is longer than its kind may
//! be is refused before a byte of it is kept, and a kind or a version that is not known is skipped.

use super::{WireError, put, take};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a frame is. The numbers are on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// What a node says of itself when a connection is new, and the answer.
    Hello = 1,
    /// A small letter.
    Letter = 2,
    /// The first thing on an attempt's stream.
    Knock = 3,
    /// What a worker says of an attempt.
    Said = 4,
    /// The client wants an attempt stopped.
    Stop = 5,
    /// A question.
    Question = 6,
    /// Its answer, or why there is none.
    Answer = 7,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 7] = [
        Kind::Hello,
        Kind::Letter,
        Kind::Knock,
        Kind::Said,
        Kind::Stop,
        Kind::Question,
        Kind::Answer,
    ];

    /// The version of the kind that is spoken here.
    pub fn version(self) -> u8 {
        match self {
            Kind::Hello
            | Kind::Letter
            | Kind::Knock
            | Kind::Said
            | Kind::Stop
            | Kind::Question
            | Kind::Answer => 1,
        }
    }

    /// Bytes of its value, at most.
    pub fn bytes_max(self) -> usize {
        match self {
            // A certificate and a few addresses.
            Kind::Hello => 16 << 10,
            // A worker's report names every model and every request it serves.
            Kind::Letter => 512 << 10,
            // A conversation of 8 MiB, and the ids of what was delivered of it.
            Kind::Knock => 12 << 20,
            // The ids of a prompt that fills the largest context, or a vector.
            Kind::Said => 6 << 20,
            Kind::Stop => 16,
            Kind::Question => 64 << 10,
            Kind::Answer => 1 << 20,
        }
    }
}

/// The beginning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is; none if that is not known, or not in this version, and is to be skipped.
    pub kind: Option<Kind>,
    /// Bytes of the head itself.
    pub head: usize,
    /// Bytes of the value.
    pub body: usize,
}

/// Appends `value` as a frame.
pub fn encode<T: Serialize>(kind: Kind, value: &T, into: &mut Vec<u8>) -> Result<(), WireError> {
    let mut body = Vec::new();
    put(value, &mut body);
    let (bytes, limit) = (body.len(), kind.bytes_max());
    if bytes > limit {
        return Err(WireError::Long { bytes, limit });
    }
    into.extend([kind as u8, kind.version()]);
    let mut left = bytes;
    while left >= 0x80 {
        into.push(left as u8 | 0x80);
        left >>= 7;
    }
    into.push(left as u8);
    into.append(&mut body);
    Ok(())
}

/// The head at the beginning of `bytes`; none if more of them are needed.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, WireError> {
    let [kind, version, length @ ..] = bytes else {
        return Ok(None);
    };
    let mut body = 0usize;
    for (index, byte) in length.iter().take(LENGTH_BYTES_MAX).enumerate() {
        body |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let named = Kind::ALL.into_iter().find(|known| *known as u8 == *kind);
            let limit = named.map_or(SKIPPED_MAX, Kind::bytes_max);
            if body > limit {
                let bytes = body;
                return Err(WireError::Long { bytes, limit });
            }
            let kind = named.filter(|kind| kind.version() == *version);
            let head = 2 + index + 1;
            return Ok(Some(Head { kind, head, body }));
        }
    }
    if length.len() < LENGTH_BYTES_MAX {
        return Ok(None);
    }
    Err(WireError::Undecodable {
        message: format!("a length of more than {LENGTH_BYTES_MAX} bytes"),
    })
}

/// The value of a frame's body.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    take(body)
}

/// Bytes of a length, at most: 2^28 is more than any kind has.
const LENGTH_BYTES_MAX: usize = 4;
/// What a frame of an unknown kind may have; it is skipped without being kept.
const SKIPPED_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_with_its_kind_and_length() {
        for bytes in [0, 1, 126, 127, 128, 16_000, 16_384, 300_000] {
            let value = vec![7u8; bytes];
            let mut frame = Vec::new();
            encode(Kind::Letter, &value, &mut frame).expect("short enough");
            let head = head(&frame).expect("well formed").expect("whole");
            assert_eq!(head.kind, Some(Kind::Letter));
            assert_eq!(head.head + head.body, frame.len());
            assert_eq!(decode::<Vec<u8>>(&frame[head.head..]), Ok(value));
        }
    }

    #[test]
    fn a_part_of_a_head_is_not_yet_a_head() {
        let mut frame = Vec::new();
        encode(Kind::Knock, &vec![0u8; 70_000], &mut frame).expect("short enough");
        for bytes in 0..5 {
            assert_eq!(head(&frame[..bytes]), Ok(None), "{bytes} bytes");
        }
        assert!(head(&frame[..5]).expect("well formed").is_some());
    }

    #[test]
    fn what_is_longer_than_its_kind_may_be_is_refused_by_its_head_alone() {
        for kind in Kind::ALL {
            let long = kind.bytes_max() + 1;
            let mut bytes = vec![kind as u8, 1];
            for shift in [0, 7, 14] {
                bytes.push((long >> shift) as u8 | 0x80);
            }
            bytes.push((long >> 21) as u8 & 0x7f);
            let refused = Err(WireError::Long {
                bytes: long,
                limit: kind.bytes_max(),
            });
            assert_eq!(head(&bytes), refused);
        }
        assert!(head(&[2, 1, 0xff, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn an_unknown_kind_and_an_unknown_version_are_skipped() {
        for bytes in [[200, 1, 5], [Kind::Letter as u8, 9, 5]] {
            let head = head(&bytes).expect("well formed").expect("whole");
            assert_eq!((head.kind, head.head, head.body), (None, 3, 5));
        }
    }

    #[test]
    fn a_value_too_long_for_its_kind_is_not_sent() {
        let mut frame = Vec::new();
        let refused = encode(Kind::Stop, &vec![0u8; 17], &mut frame);
        assert!(matches!(refused, Err(WireError::Long { limit: 16, .. })));
        assert!(frame.is_empty());
    }
}
