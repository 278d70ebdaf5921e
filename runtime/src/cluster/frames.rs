//! Frames off a stream: one at a time, never more kept than one may have, never faster than the pace.

use super::limits::{LARGE_KIB_MAX, PACE, PACE_FRAMES, SMALL};
use bytes::{Buf, Bytes, BytesMut};
use quinn::{ReadError, RecvStream};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use troop_actors::wire::WireError;
use troop_actors::wire::frame::{self, Kind};

/// What frames that are not small may take of memory, all streams together.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Room {
        Room(Arc::new(Semaphore::new(LARGE_KIB_MAX)))
    }
}

/// A frame whose kind is known.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    body: Bytes,
    _room: Option<OwnedSemaphorePermit>,
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
    /// A frame of a kind that this stream does not have.
    #[error("a {0:?} does not belong on this stream")]
    Misplaced(Kind),
}

/// A stream, read frame by frame.
#[derive(Debug)]
pub(super) struct Frames {
    stream: RecvStream,
    buffer: BytesMut,
    room: Room,
    taken: u32,
    since: Instant,
}

impl Frames {
    pub(super) fn new(stream: RecvStream, room: Room) -> Frames {
        Frames {
            stream,
            buffer: BytesMut::new(),
            room,
            taken: 0,
            since: Instant::now(),
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
            let room = match head.body > SMALL {
                true => Some(self.room.of(head.body).await),
                false => None,
            };
            while self.buffer.len() < whole {
                if !self.fill().await? {
                    return Err(FrameError::Cut);
                }
            }
            let mut body = self.buffer.split_to(whole).freeze();
            body.advance(head.head);
            self.taken += 1;
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
        if self.taken >= PACE_FRAMES {
            let next = self.since + PACE;
            if next > Instant::now() {
                tokio::time::sleep_until(next).await;
            }
            (self.taken, self.since) = (0, Instant::now());
        }
    }
}

impl Room {
    async fn of(&self, bytes: usize) -> OwnedSemaphorePermit {
        let kib = bytes.div_ceil(1 << 10) as u32;
        let permit = self.0.clone().acquire_many_owned(kib).await;
        permit.expect("this semaphore is never closed")
    }
}

/// Bytes taken off a stream at once.
const CHUNK: usize = 32 << 10;
