//! Frames on a pipe: `length: u32 LE | kind: u8 | version: u8 | body`, where `length` counts what follows it.

use crate::wire::{self, WireError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`super::frames::ToEngine`].
    ToEngine = 1,
    /// [`super::frames::FromEngine`].
    FromEngine = 2,
}

/// The bytes of a frame.
pub fn encode<T: Serialize>(kind: Kind, frame: &T) -> Vec<u8> {
    let body = wire::encode(VERSION, frame);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + 1 + body.len());
    bytes.extend((body.len() as u32 + 1).to_le_bytes());
    bytes.push(kind as u8);
    bytes.extend(body);
    bytes
}

/// How many bytes follow a header; an error if that is more than may be.
pub fn length(header: [u8; HEADER_BYTES]) -> io::Result<usize> {
    let length = u32::from_le_bytes(header) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(wrong(WireError::Long {
            bytes: length,
            limit: FRAME_BYTES_MAX,
        }));
    }
    Ok(length)
}

/// The frame in the bytes that followed a header; nothing if it is of a kind not known here.
pub fn decode<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> io::Result<Option<T>> {
    match bytes.split_first() {
        Some((found, body)) if *found == kind as u8 => wire::decode(VERSION, body, FRAME_BYTES_MAX)
            .map(Some)
            .map_err(wrong),
        Some(_) => Ok(None),
        None => Err(wrong(WireError::Empty)),
    }
}

/// Writes a frame.
pub fn write<T: Serialize>(to: &mut impl Write, kind: Kind, frame: &T) -> io::Result<()> {
    to.write_all(&encode(kind, frame))
}

/// Reads the next frame of a known kind; nothing at the end of the pipe.
pub fn read<T: DeserializeOwned>(from: &mut impl Read, kind: Kind) -> io::Result<Option<T>> {
    Ok(read_counted(from, kind)?.map(|(frame, _)| frame))
}

/// The same, and how many bytes it had.
pub(super) fn read_counted<T: DeserializeOwned>(
    from: &mut impl Read,
    kind: Kind,
) -> io::Result<Option<(T, usize)>> {
    loop {
        let mut header = [0; HEADER_BYTES];
        match from.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result?,
        }
        let mut bytes = vec![0; length(header)?];
        from.read_exact(&mut bytes)?;
        if let Some(frame) = decode(kind, &bytes)? {
            return Ok(Some((frame, bytes.len())));
        }
    }
}

fn wrong(error: WireError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 4;
/// Bytes of one frame, at most: a request of 8 MiB as JSON is never longer than that here, and the ids of a
/// prompt that is resumed take four bytes and more for each of its bytes.
const FRAME_BYTES_MAX: usize = 48 << 20;
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::frames::ToEngine;
    use crate::ids::AttemptId;

    #[test]
    fn frames_come_back_in_order_unknown_kinds_are_skipped_and_a_torn_one_is_an_error() {
        let frames = [
            ToEngine::Probe { number: 7 },
            ToEngine::Cancel {
                attempt: AttemptId([3; 16]),
            },
        ];
        let mut pipe = encode(Kind::ToEngine, &frames[0]);
        pipe.extend(encode(Kind::FromEngine, &5u8));
        pipe.extend(encode(Kind::ToEngine, &frames[1]));
        let mut from = &pipe[..];
        assert_eq!(
            read(&mut from, Kind::ToEngine).unwrap(),
            Some(frames[0].clone())
        );
        assert_eq!(
            read(&mut from, Kind::ToEngine).unwrap(),
            Some(frames[1].clone())
        );
        assert_eq!(read::<ToEngine>(&mut from, Kind::ToEngine).unwrap(), None);
        assert!(read::<ToEngine>(&mut &pipe[..6], Kind::ToEngine).is_err());
        assert!(
            length([255; 4]).is_err(),
            "a length is checked before it is allocated"
        );
    }

    #[test]
    fn the_bytes_of_known_frames_are_pinned() {
        let probe = encode(Kind::ToEngine, &ToEngine::Probe { number: 7 });
        assert_eq!(probe, [4, 0, 0, 0, 1, 1, 2, 7]);
    }
}
