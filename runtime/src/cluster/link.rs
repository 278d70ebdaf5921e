//! A connection that is up: its letters, and the streams and datagrams the peer sends on it.

use super::frames::{FrameError, Frames, Room};
use super::hello::Met;
use super::limits::*;
use super::{Inner, Standing, code};
use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use troop_actors::contract::Time;
use troop_actors::ids::NodeId;
use troop_actors::letters::{Knock, Letter};
use troop_actors::peers::Line;
use troop_actors::wire::frame::Kind;

/// A frame that waits to be written, and its part of what may wait.
pub(super) type Queued = (Bytes, OwnedSemaphorePermit);

/// One connection to one peer.
pub(super) struct Link {
    pub(super) peer: NodeId,
    pub(super) standing: Standing,
    pub(super) connection: Connection,
    pub(super) line: Line,
    pub(super) since: Time,
    pub(super) addresses: Vec<SocketAddr>,
    /// The peer's share of what large frames may take.
    pub(super) room: Room,
    letters: mpsc::Sender<Queued>,
    bytes: Arc<Semaphore>,
    /// Streams that run on it, whoever opened them.
    streams: AtomicUsize,
}

/// The letters that a link has still to write.
pub(super) type Letters = mpsc::Receiver<Queued>;

impl Link {
    pub(super) fn new(
        met: Met,
        connection: Connection,
        dialled: bool,
        since: Time,
        room: Room,
    ) -> (Arc<Link>, Letters) {
        let (letters, waiting) = mpsc::channel(LETTERS_MAX);
        let Met {
            peer,
            standing,
            hello,
        } = met;
        let life = hello.life;
        let link = Link {
            peer,
            standing,
            connection,
            line: Line { dialled, life },
            since,
            addresses: hello.addresses,
            room,
            letters,
            bytes: Arc::new(Semaphore::new(LETTERS_BYTES_MAX)),
            streams: AtomicUsize::new(0),
        };
        (Arc::new(link), waiting)
    }

    /// Queues a letter; false if as much waits as may.
    pub(super) fn post(&self, frame: Bytes) -> bool {
        let bytes = self.bytes.clone();
        let Ok(permit) = bytes.try_acquire_many_owned(frame.len() as u32) else {
            return false;
        };
        self.letters.try_send((frame, permit)).is_ok()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Counts a stream until what it returns is dropped.
    pub(super) fn stream(self: &Arc<Self>) -> StreamCount {
        self.streams.fetch_add(1, Ordering::Relaxed);
        StreamCount(self.clone())
    }

    /// Another link is used from now on: this one ends when nothing runs on it any more.
    pub(super) async fn retire(self: Arc<Self>) {
        loop {
            tokio::time::sleep(RETIRE).await;
            if !self.is_alive() {
                return;
            }
            if self.streams.load(Ordering::Relaxed) == 0 {
                return self.connection.close(code::REPLACED, b"replaced");
            }
        }
    }
}

/// A stream that runs.
pub(super) struct StreamCount(Arc<Link>);

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inner {
    /// Everything that happens on a link, until it is closed.
    pub(super) async fn drive(self: Arc<Self>, link: Arc<Link>, letters: Letters) {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().serve(link.clone()));
        if link.standing != Standing::Stranger {
            tasks.spawn(write_letters(link.connection.clone(), letters));
            tasks.spawn(self.clone().read_channels(link.clone()));
            tasks.spawn(self.clone().read_datagrams(link.clone()));
        }
        if link.standing == Standing::Stranger {
            let _ = timeout(STRANGER, link.connection.closed()).await;
            link.connection
                .close(code::REFUSED, b"a stranger's time is over");
        }
        let closed = link.connection.closed().await;
        tracing::info!(peer = %link.peer, %closed, "a peer is gone");
        tasks.shutdown().await;
        self.gone(&link);
    }

    async fn read_channels(self: Arc<Self>, link: Arc<Link>) {
        let mut channels = JoinSet::new();
        while let Ok(stream) = link.connection.accept_uni().await {
            channels.spawn(self.clone().read_letters(link.clone(), stream));
            while channels.try_join_next().is_some() {}
        }
    }

    async fn read_letters(self: Arc<Self>, link: Arc<Link>, stream: RecvStream) {
        let mut frames = Frames::letters(stream, link.room.clone());
        let ended = loop {
            match frames.next().await {
                Ok(None) => return,
                Ok(Some(_)) if !self.stays(link.peer, link.standing) => return,
                Ok(Some(frame)) if frame.kind == Kind::Letter => match frame.value::<Letter>() {
                    Ok(letter) => {
                        let message = letter.message(link.peer);
                        if let Err(forged) = self.hear(link.peer, link.standing, false, message) {
                            break FrameError::Forged(forged);
                        }
                    }
                    Err(error) => break FrameError::Wire(error),
                },
                Ok(Some(frame)) => break FrameError::Misplaced(frame.kind),
                Err(error) => break error,
            }
        };
        self.offended(&link, &ended);
    }

    /// A peer whose letters or streams make no sense is not talked to on: it is broken, or tries something.
    pub(super) fn offended(&self, link: &Link, error: &FrameError) {
        if matches!(error, FrameError::Broken(_)) {
            return;
        }
        tracing::warn!(peer = %link.peer, %error, "a connection is ended");
        link.connection
            .close(code::GARBAGE, error.to_string().as_bytes());
    }

    async fn read_datagrams(self: Arc<Self>, link: Arc<Link>) {
        while let Ok(bytes) = link.connection.read_datagram().await {
            if let Some(hooks) = self.hooks.get() {
                hooks.datagrams.heard(link.peer, bytes);
            }
        }
    }

    /// Takes the streams the peer opens: each is an attempt or a question.
    async fn serve(self: Arc<Self>, link: Arc<Link>) {
        let (streams_max, questions_max) = match link.standing {
            Standing::Member(_) => (STREAMS_MAX as usize, QUESTIONS_MAX),
            Standing::Stranger => (STRANGER_STREAMS, STRANGER_STREAMS),
        };
        let questions = Arc::new(Semaphore::new(questions_max));
        let mut streams = JoinSet::new();
        while let Ok((mut send, receive)) = link.connection.accept_bi().await {
            while streams.try_join_next().is_some() {}
            if streams.len() >= streams_max {
                let _ = send.reset(code::FULL);
                continue;
            }
            let (inner, link, questions) = (self.clone(), link.clone(), questions.clone());
            streams.spawn(async move {
                let _counted = link.stream();
                inner.serve_stream(&link, send, receive, questions).await;
            });
        }
    }

    async fn serve_stream(
        self: &Arc<Self>,
        link: &Arc<Link>,
        mut send: SendStream,
        receive: RecvStream,
        questions: Arc<Semaphore>,
    ) {
        let mut frames = match link.standing {
            Standing::Member(_) => Frames::new(receive, link.room.clone()),
            Standing::Stranger => Frames::small(receive),
        };
        let first = match timeout(FIRST_FRAME, frames.next()).await {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None)) | Err(_) => return refuse(&mut send, &mut frames, code::GARBAGE),
            Ok(Err(error)) => return self.offended(link, &error),
        };
        match first.kind {
            Kind::Question => match (first.value(), questions.try_acquire_owned()) {
                (Ok(asked), Ok(_place)) => self.reply(link, send, asked).await,
                (Ok(_), Err(_)) => refuse(&mut send, &mut frames, code::FULL),
                (Err(error), _) => self.offended(link, &FrameError::Wire(error)),
            },
            Kind::Knock if link.standing != Standing::Stranger => match first.value::<Knock>() {
                Ok(knock) => {
                    drop(first);
                    self.serve_attempt(link, knock, send, frames).await;
                }
                Err(error) => self.offended(link, &FrameError::Wire(error)),
            },
            other => self.offended(link, &FrameError::Misplaced(other)),
        }
    }
}

/// Ends a stream that is not served.
fn refuse(send: &mut SendStream, frames: &mut Frames, code: VarInt) {
    let _ = send.reset(code);
    frames.stop(code);
}

/// Writes what is queued, many at a time. Ends when the connection does, or when nobody can queue any more.
async fn write_letters(connection: Connection, mut letters: Letters) {
    let Ok(mut stream) = connection.open_uni().await else {
        return;
    };
    let _ = stream.set_priority(PRIORITY_LETTERS);
    let mut batch = Vec::new();
    while letters.recv_many(&mut batch, LETTERS_MAX).await > 0 {
        if write(&mut stream, &mut batch).await.is_err() {
            return;
        }
    }
    let _ = stream.finish();
}

/// Writes `batch` and forgets it.
pub(super) async fn write(
    stream: &mut SendStream,
    batch: &mut Vec<Queued>,
) -> Result<(), quinn::WriteError> {
    let (mut frames, room): (Vec<Bytes>, Vec<OwnedSemaphorePermit>) = batch.drain(..).unzip();
    stream.write_all_chunks(&mut frames).await?;
    drop(room);
    Ok(())
}
