//! Frames off a stream: one at a time, never more kept than one may have, never faster than the pace.

use super::limits::{
    LARGE_FRAME, LARGE_KIB_MAX, LARGE_KIB_SHARE, PACE, PACE_LETTERS, PACE_STREAM, SMALL,
};
use bytes::{Buf, Bytes, BytesMut};
use quinn::{ReadError, RecvStream};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use troop_actors::border::Forged;
use troop_actors::wire::WireError;
use troop_actors::wire::frame::{self, Kind};

/// What frames that are not small may take of memory: those of all peers together, and those of one.
#[derive(Clone, Debug)]
pub(super) struct Room {
    all: Arc<Semaphore>,
    share: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            all: Arc::new(Semaphore::new(LARGE_KIB_MAX)),
            share: Arc::new(Semaphore::new(LARGE_KIB_SHARE)),
        }
    }
}

/// A frame whose kind is known.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    body: Bytes,
    _room: Option<[OwnedSemaphorePermit; 2]>,
}

impl Frame {
    /// Its value.
    pub(super) fn value<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        frame::decode(&self.body)
    }
}

/// Why a stream gives no more frames.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The peer has ended it, or is gone.
    #[error("the stream broke: {0}")]
    Broken(#[from] ReadError),
    /// What came is no frame, or not one that belongs here.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// It ended inside a frame.
    #[error("the stream ended inside a frame")]
    Cut,
    /// A large frame took too long, and others wait for its room.
    #[error("a frame was not there within {LARGE_FRAME:?}")]
    Slow,
    /// A frame that is larger than this stream's may be.
    #[error("a frame of {0} bytes, and {SMALL} are the limit here")]
    Large(usize),
    /// What it says is not its sender's to say.
    #[error("{0}")]
    Forged(#[from] Forged),
    /// A frame of a kind that this stream does not have.
    #[error("a {0:?} does not belong on this stream")]
    Misplaced(Kind),
}

/// A stream, read frame by frame.
#[derive(Debug)]
pub(super) struct Frames {
    stream: RecvStream,
    buffer: BytesMut,
    /// None where all frames are small.
    room: Option<Room>,
    pace: Pace,
    taken: Pace,
    since: Instant,
}

/// Frames, and their bytes, of one stretch of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    pub(super) frames: u32,
    pub(super) bytes: usize,
}

impl Frames {
    /// Those of an attempt or a question.
    pub(super) fn new(stream: RecvStream, room: Room) -> Frames {
        Frames {
            room: Some(room),
            ..Frames::small(stream)
        }
    }

    /// Those of somebody who is not known, or not yet.
    pub(super) fn small(stream: RecvStream) -> Frames {
        Frames {
            stream,
            buffer: BytesMut::new(),
            room: None,
            pace: PACE_STREAM,
            taken: Pace::default(),
            since: Instant::now(),
        }
    }

    /// Letters: each of them is an actor's work.
    pub(super) fn letters(stream: RecvStream, room: Room) -> Frames {
        Frames {
            pace: PACE_LETTERS,
            ..Frames::new(stream, room)
        }
    }

    /// The next frame that is known here; none at the end. Loses nothing when it is dropped and called again,
    /// except that a large frame waits for its room anew.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        self.pace().await;
        loop {
            let head = loop {
                match frame::head(&self.buffer)? {
                    Some(head) => break head,
                    None if self.fill().await? => {}
                    None if self.buffer.is_empty() => return Ok(None),
                    None => return Err(FrameError::Cut),
                }
            };
            let whole = head.head + head.body;
            let Some(kind) = head.kind else {
                self.skip(whole).await?;
                continue;
            };
            let room = match (head.body > SMALL, &self.room) {
                (false, _) => None,
                (true, Some(room)) => Some(room.of(head.body).await),
                (true, None) => return Err(FrameError::Large(head.body)),
            };
            let large = room.is_some();
            let filled = self.fill_to(whole);
            match large {
                true => timeout(LARGE_FRAME, filled)
                    .await
                    .map_err(|_| FrameError::Slow)??,
                false => filled.await?,
            }
            let mut body = self.buffer.split_to(whole).freeze();
            body.advance(head.head);
            self.taken.frames += 1;
            self.taken.bytes += whole;
            return Ok(Some(Frame {
                kind,
                body,
                _room: room,
            }));
        }
    }

    /// The next frame, which must be there and be of this kind.
    pub(super) async fn expect<T: DeserializeOwned>(
        &mut self,
        kind: Kind,
    ) -> Result<T, FrameError> {
        let frame = self.next().await?.ok_or(FrameError::Cut)?;
        if frame.kind != kind {
            return Err(FrameError::Misplaced(frame.kind));
        }
        Ok(frame.value()?)
    }

    /// Tells the peer that nothing more will be read.
    pub(super) fn stop(&mut self, code: quinn::VarInt) {
        let _ = self.stream.stop(code);
    }

    /// More bytes; false at the end. What is kept grows with what came, not with what was claimed.
    async fn fill(&mut self) -> Result<bool, FrameError> {
        let Some(chunk) = self.stream.read_chunk(CHUNK, true).await? else {
            return Ok(false);
        };
        self.buffer.extend_from_slice(&chunk.bytes);
        Ok(true)
    }

    /// That many bytes at least.
    async fn fill_to(&mut self, bytes: usize) -> Result<(), FrameError> {
        while self.buffer.len() < bytes {
            if !self.fill().await? {
                return Err(FrameError::Cut);
            }
        }
        Ok(())
    }

    async fn skip(&mut self, bytes: usize) -> Result<(), FrameError> {
        let mut left = bytes;
        loop {
            let here = left.min(self.buffer.len());
            self.buffer.advance(here);
            left -= here;
            if left == 0 {
                return Ok(());
            }
            if !self.fill().await? {
                return Err(FrameError::Cut);
            }
        }
    }

    async fn pace(&mut self) {
        if self.taken.frames >= self.pace.frames || self.taken.bytes >= self.pace.bytes {
            let next = self.since + PACE;
            if next > Instant::now() {
                tokio::time::sleep_until(next).await;
            }
            (self.taken, self.since) = (Pace::default(), Instant::now());
        }
    }
}

impl Room {
    /// The same room for another peer.
    pub(super) fn share(&self) -> Room {
        Room {
            all: self.all.clone(),
            ..Room::default()
        }
    }

    async fn of(&self, bytes: usize) -> [OwnedSemaphorePermit; 2] {
        let kib = bytes.div_ceil(1 << 10) as u32;
        let of = async |room: &Arc<Semaphore>| {
            let permit = room.clone().acquire_many_owned(kib).await;
            permit.expect("this semaphore is never closed")
        };
        [of(&self.share).await, of(&self.all).await]
    }
}

/// Bytes taken off a stream at once.
const CHUNK: usize = 32 << 10;
