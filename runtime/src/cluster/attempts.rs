//! The streams of attempts, at both ends.
//!
//! A stream is bound to its attempt by the knock that opened it: what the worker says on it is about that
//! attempt and no other, and nobody else can say anything about it. So a stream that breaks early means one
//! thing at each end: the session's attempt is lost, and the engine's client is gone.

use super::frames::{FrameError, Frames};
use super::limits::*;
use super::link::{Link, Queued, write};
use super::{Inner, Standing, code, lock};
use bytes::Bytes;
use quinn::SendStream;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;
use troop_actors::ids::{AttemptId, NodeId, RequestId};
use troop_actors::letters::{self, Knock, Said};
use troop_actors::ports::Unreachable;
use troop_actors::routing::Message;
use troop_actors::session;
use troop_actors::wire::frame::{self, Kind};

/// The attempts whose streams are open.
#[derive(Default)]
pub(super) struct Attempts {
    /// Of sessions here.
    asked: BTreeMap<AttemptId, Asked>,
    /// Of engines here, for clients elsewhere.
    served: BTreeMap<(NodeId, AttemptId), Served>,
}

struct Asked {
    worker: NodeId,
    stop: Arc<Notify>,
}

struct Served {
    queue: mpsc::Sender<Queued>,
    bytes: Arc<Semaphore>,
    /// Set when the last word is in the queue.
    is_whole: Arc<AtomicBool>,
}

impl Inner {
    /// Opens the stream of an attempt at `worker`. Whatever comes of it, the session hears an end.
    pub(super) fn knock(self: &Arc<Self>, worker: NodeId, knock: Knock) -> Result<(), Unreachable> {
        let (request, attempt) = (knock.request, knock.attempt);
        let stop = Arc::new(Notify::new());
        let mut bytes = Vec::new();
        let written = frame::encode(Kind::Knock, &knock, &mut bytes);
        let entered = {
            let asked = &mut lock(&self.attempts).asked;
            let free = asked.len() < ATTEMPTS_MAX && !asked.contains_key(&attempt);
            if free && written.is_ok() {
                let stop = stop.clone();
                asked.insert(attempt, Asked { worker, stop });
            }
            free
        };
        if !entered || written.is_err() {
            tracing::warn!(%worker, %attempt, "a knock cannot be sent");
            self.lost(worker, request, attempt);
            return Err(Unreachable { node: worker });
        }
        let inner = self.clone();
        self.runtime.spawn(async move {
            let run = inner.run(worker, request, attempt, Bytes::from(bytes), &stop);
            let is_over = run.await.unwrap_or_else(|error| {
                tracing::debug!(%worker, %attempt, %error, "the stream of an attempt broke");
                false
            });
            lock(&inner.attempts).asked.remove(&attempt);
            if !is_over {
                inner.lost(worker, request, attempt);
            }
        });
        Ok(())
    }

    /// Asks the worker to stop an attempt, on its stream; false if there is none.
    pub(super) fn stop(&self, worker: NodeId, attempt: AttemptId) -> bool {
        let attempts = lock(&self.attempts);
        let asked = attempts.asked.get(&attempt);
        let asked = asked.filter(|asked| asked.worker == worker);
        asked.map(|asked| asked.stop.notify_one()).is_some()
    }

    fn lost(&self, worker: NodeId, request: RequestId, attempt: AttemptId) {
        if let Some(hooks) = self.hooks.get() {
            tracing::info!(%worker, %attempt, "an attempt is lost");
            let broken = session::protocol::Input::Broken { attempt };
            hooks.inbound.deliver(Message::Session(request, broken));
        }
    }

    /// The session's end of a stream. Returns whether the worker said its last word.
    async fn run(
        self: &Arc<Self>,
        worker: NodeId,
        request: RequestId,
        attempt: AttemptId,
        knock: Bytes,
        stop: &Notify,
    ) -> Result<bool, FrameError> {
        let opening = async {
            let link = self.reach(worker).await.ok()?;
            let counted = link.stream();
            let (mut send, receive) = link.connection.open_bi().await.ok()?;
            send.write_chunk(knock).await.ok()?;
            Some((link, counted, send, receive))
        };
        let Ok(Some(opened)) = tokio::time::timeout(FIRST_FRAME, opening).await else {
            return Ok(false);
        };
        let (link, _counted, mut send, receive) = opened;
        let mut frames = Frames::new(receive, self.room.clone());
        // After it was told to stop the worker has only so long.
        let mut until: Option<Instant> = None;
        loop {
            let ended = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let frame = tokio::select! {
                biased;
                () = stop.notified() => {
                    until.get_or_insert(Instant::now() + CANCELLED);
                    let mut bytes = Vec::new();
                    frame::encode(Kind::Stop, &(), &mut bytes)?;
                    if send.write_all(&bytes).await.is_err() {
                        return Ok(false);
                    }
                    continue;
                }
                () = ended => return Ok(false),
                frame = frames.next() => frame?,
            };
            let Some(frame) = frame else {
                return Ok(false);
            };
            if frame.kind != Kind::Said {
                let error = FrameError::Misplaced(frame.kind);
                self.offended(&link, &error);
                return Err(error);
            }
            let said: Said = match frame.value() {
                Ok(said) => said,
                Err(error) => {
                    let error = FrameError::Wire(error);
                    self.offended(&link, &error);
                    return Err(error);
                }
            };
            let is_last = said.is_last();
            let message = said.message(request, attempt);
            if !self.stays(worker, link.standing) {
                return Ok(false);
            }
            if let Err(forged) = self.hear(worker, link.standing, true, message) {
                let error = FrameError::Forged(forged);
                self.offended(&link, &error);
                return Err(error);
            }
            if is_last {
                let _ = send.finish();
                return Ok(true);
            }
        }
    }

    /// What an engine here says of an attempt, to its client.
    pub(super) fn say(
        &self,
        client: NodeId,
        attempt: AttemptId,
        said: Said,
    ) -> Result<(), Unreachable> {
        let unreachable = Unreachable { node: client };
        let mut bytes = Vec::new();
        let encoded = frame::encode(Kind::Said, &said, &mut bytes).is_ok();
        let served = &mut lock(&self.attempts).served;
        let at = (client, attempt);
        let place = served.get(&at).ok_or(unreachable)?;
        let room = place.bytes.clone();
        let room = room.try_acquire_many_owned(bytes.len() as u32);
        let queued = match (encoded, room) {
            (true, Ok(room)) => place.queue.try_send((Bytes::from(bytes), room)).is_ok(),
            _ => false,
        };
        if queued && said.is_last() {
            place.is_whole.store(true, Ordering::Relaxed);
        }
        // A stream with a hole in it is of no use: its client goes on elsewhere.
        if said.is_last() || !queued {
            served.remove(&at);
        }
        queued.then_some(()).ok_or(unreachable)
    }

    /// The worker's end of a stream, from the knock to the last word.
    pub(super) async fn serve_attempt(
        self: &Arc<Self>,
        link: &Arc<Link>,
        knock: Knock,
        mut send: SendStream,
        mut frames: Frames,
    ) {
        let (queue, mut said) = mpsc::channel(SAID_MAX);
        let at = (link.peer, knock.attempt);
        let is_whole = Arc::new(AtomicBool::new(false));
        {
            let served = &mut lock(&self.attempts).served;
            let mine = served.keys().filter(|(peer, _)| *peer == link.peer);
            if served.contains_key(&at) || mine.count() >= STREAMS_MAX as usize {
                let _ = send.reset(code::FULL);
                return frames.stop(code::FULL);
            }
            let place = Served {
                queue,
                bytes: Arc::new(Semaphore::new(SAID_BYTES_MAX)),
                is_whole: is_whole.clone(),
            };
            served.insert(at, place);
        }
        let mut service = Service {
            inner: self.clone(),
            standing: link.standing,
            at,
            is_whole: is_whole.clone(),
            is_over: false,
        };
        let message = knock.message(link.peer);
        if !self.stays(link.peer, link.standing) {
            return;
        }
        if let Err(forged) = self.hear(link.peer, link.standing, false, message) {
            return self.offended(link, &FrameError::Forged(forged));
        }
        let heard = async {
            loop {
                match frames.next().await {
                    Ok(Some(frame)) if frame.kind == Kind::Stop => service.cancel(),
                    Ok(Some(frame)) => break Some(FrameError::Misplaced(frame.kind)),
                    Ok(None) | Err(FrameError::Broken(_)) => break None,
                    Err(error) => break Some(error),
                }
            }
        };
        let told = async {
            let mut batch = Vec::new();
            while said.recv_many(&mut batch, BATCH).await > 0 {
                write(&mut send, &mut batch).await?;
            }
            Ok::<(), quinn::WriteError>(())
        };
        tokio::select! {
            offence = heard => {
                if let Some(error) = offence {
                    self.offended(link, &error);
                }
                let _ = send.reset(code::LOST);
            }
            told = told => {
                // The queue ends after the last word, or because it was full.
                if told.is_err() || !is_whole.load(Ordering::Relaxed) {
                    let _ = send.reset(code::LOST);
                    return;
                }
                service.is_over = true;
                let _ = send.finish();
                let _ = tokio::time::timeout(FIRST_FRAME, send.stopped()).await;
            }
        }
    }
}

/// An attempt that is served. When it is dropped before its last word the engine hears that nobody listens.
struct Service {
    inner: Arc<Inner>,
    standing: Standing,
    at: (NodeId, AttemptId),
    /// Which of the streams that were open for it, one after the other.
    is_whole: Arc<AtomicBool>,
    is_over: bool,
}

impl Service {
    fn cancel(&self) {
        let (peer, attempt) = self.at;
        let message = letters::cancel(peer, attempt);
        if let Err(forged) = self.inner.hear(peer, self.standing, false, message) {
            tracing::error!(%peer, %forged, "a cancel of this node's own making was refused");
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        {
            let served = &mut lock(&self.inner.attempts).served;
            let own = |place: &Served| Arc::ptr_eq(&place.is_whole, &self.is_whole);
            if served.get(&self.at).is_some_and(own) {
                served.remove(&self.at);
            }
        }
        if !self.is_over {
            self.cancel();
        }
    }
}

/// Frames that are written together.
const BATCH: usize = 256;
