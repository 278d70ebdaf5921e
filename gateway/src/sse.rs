//! A stream of events as the body of a response.
//!
//! The body is polled by the connection when there is room to write, and polls the session's deliveries
//! itself: no task and no queue stands between them. Dropping it, which is what happens when the client
//! hangs up, drops the receiver, and that cancels the request.

use crate::bill::Bill;
use crate::dialect::Events;
use crate::gateway::shared::{Opened, Phase};
use crate::limits::Limits;
use crate::openai::answer::comment;
use crate::problem::Problem;
use crate::sources::Sources;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::{Body, Frame};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};
use troop_actors::session::protocol::Delivery;

/// See the module's page.
pub(crate) struct SseBody {
    stream: Box<dyn Events>,
    sources: Sources,
    bill: Option<Bill>,
    /// Whether the head could not say which worker it is.
    nameless: bool,
    ready: Vec<u8>,
    /// Where the request stood when it was last said, while it waits: said again when there is nothing else to say.
    place: Option<(usize, Delivery)>,
    keep_alive: Duration,
    alive: Pin<Box<Sleep>>,
    silence_max: Duration,
    heard: Instant,
    ending: Pin<Box<dyn Future<Output = ()> + Send>>,
    _opened: Opened,
}

impl SseBody {
    /// A body that begins with what `first` becomes, if the head has not been waiting in vain for it.
    pub(crate) fn new(
        mut stream: Box<dyn Events>,
        first: Option<(usize, Delivery)>,
        sources: Sources,
        bill: Option<Bill>,
        limits: &Limits,
        opened: Opened,
    ) -> SseBody {
        let mut ready = Vec::new();
        match &first {
            Some((source, delivery)) => stream.write(*source, delivery, &mut ready),
            None => comment("keep-alive", &mut ready),
        }
        SseBody {
            nameless: first.as_ref().is_none_or(waits),
            stream,
            sources,
            bill,
            ready,
            place: first.filter(waits),
            keep_alive: limits.keep_alive,
            alive: Box::pin(sleep(limits.keep_alive)),
            silence_max: limits.silence_max,
            heard: Instant::now(),
            ending: Box::pin(ended(opened.phase())),
            _opened: opened,
        }
    }

    /// Moves what has come into the buffer, up to a bound.
    fn gather(&mut self, context: &mut Context<'_>) {
        while !self.stream.over() && self.ready.len() < GATHERED_BYTES_MAX {
            match self.sources.poll(context) {
                Poll::Ready((source, Ok(delivery))) => {
                    self.heard = Instant::now();
                    if let Some(bill) = &mut self.bill {
                        bill.hear(source, &delivery);
                        if let (Delivery::Done { .. }, Some(cost)) = (&delivery, bill.cost()) {
                            // The headers have gone; clients skip comments, and the command line reads this.
                            comment(&format!("x-troop-cost: {cost}"), &mut self.ready);
                        }
                    }
                    if let (true, Delivery::Started { worker, .. }) = (self.nameless, &delivery) {
                        comment(&format!("x-troop-node: {worker}"), &mut self.ready);
                        self.nameless = false;
                    }
                    self.stream.write(source, &delivery, &mut self.ready);
                    self.place = Some((source, delivery)).filter(waits);
                }
                Poll::Ready((_, Err(problem))) => self.stream.fail(&problem, &mut self.ready),
                Poll::Pending => break,
            }
        }
        if !self.stream.over() && self.ending.as_mut().poll(context).is_ready() {
            self.stream.fail(&Problem::draining(), &mut self.ready);
        }
        if self.stream.over() {
            // Nothing more is wanted, so the sessions may know at once.
            self.sources.close();
        } else if self.ready.is_empty() && self.alive.as_mut().poll(context).is_ready() {
            if self.heard.elapsed() >= self.silence_max {
                self.stream.fail(&silent(), &mut self.ready);
            } else if let Some((source, delivery)) = &self.place {
                self.stream.write(*source, delivery, &mut self.ready);
            } else {
                comment("keep-alive", &mut self.ready);
            }
        }
    }
}

impl Body for SseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        this.gather(context);
        if !this.ready.is_empty() {
            let next = Instant::now() + this.keep_alive;
            this.alive.as_mut().reset(next);
            let frame = Frame::data(Bytes::from(std::mem::take(&mut this.ready)));
            return Poll::Ready(Some(Ok(frame)));
        }
        if this.stream.over() {
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

/// Whether it says that there is nothing to say yet.
fn waits((_, delivery): &(usize, Delivery)) -> bool {
    matches!(delivery, Delivery::Waiting { .. })
}

/// Resolves when open streams are to end.
pub(crate) async fn ended(mut phase: watch::Receiver<Phase>) {
    // An error means that the gateway itself is gone, and its connections are about to follow.
    let _ = phase.wait_for(|phase| *phase == Phase::Ending).await;
}

/// Nothing was heard from the session for too long.
pub(crate) fn silent() -> Problem {
    Problem::new(
        StatusCode::GATEWAY_TIMEOUT,
        "timeout",
        "the request made no progress for too long",
    )
}

/// Bytes that are written at once, at most, but for the last event.
const GATHERED_BYTES_MAX: usize = 16 * 1024;
