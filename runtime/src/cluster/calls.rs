//! Questions and their answers: one stream each, one end each.

use super::frames::Frames;
use super::limits::{ANSWER, PRIORITY_CALLS};
use super::link::Link;
use super::{Inner, Standing, code};
use quinn::SendStream;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use troop_actors::ids::NodeId;
use troop_actors::questions::{Answer, Question, RemoteError};
use troop_actors::wire::frame::{self, Kind};

/// A question as it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    /// How long the asker waits.
    within_ms: u64,
    /// What is asked.
    question: Question,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Reply {
    /// The answer.
    Answer(Answer),
    /// There is none.
    Refused { reason: String },
    /// It took too long.
    TimedOut,
}

impl Inner {
    /// Asks and waits.
    pub(super) async fn call(
        self: &Arc<Self>,
        to: NodeId,
        question: Question,
        within: Duration,
    ) -> Result<Answer, RemoteError> {
        let late = |_| RemoteError::TimedOut { node: to };
        let asked = self.ask(to, question, within);
        tokio::time::timeout(within, asked).await.map_err(late)?
    }

    async fn ask(
        self: &Arc<Self>,
        to: NodeId,
        question: Question,
        within: Duration,
    ) -> Result<Answer, RemoteError> {
        let within_ms = within.as_millis().min(u128::from(u64::MAX)) as u64;
        let asked = Asked {
            within_ms,
            question,
        };
        let mut bytes = Vec::new();
        frame::encode(Kind::Question, &asked, &mut bytes).map_err(|error| {
            let reason = error.to_string();
            RemoteError::Refused { node: to, reason }
        })?;
        let link = self.reach(to).await?;
        let _counted = link.stream();
        let gone = || RemoteError::Gone { node: to };
        let opened = link.connection.open_bi().await;
        let (mut send, receive) = opened.map_err(|error| RemoteError::Unreachable {
            node: to,
            reason: error.to_string(),
        })?;
        let _ = send.set_priority(PRIORITY_CALLS);
        // Dropping the future drops the receiving half, which tells the other side to stop.
        let mut frames = Frames::new(receive, link.room.clone());
        send.write_all(&bytes).await.map_err(|_| gone())?;
        let _ = send.finish();
        let reply = frames.expect(Kind::Answer).await;
        match reply.map_err(|_| gone())? {
            Reply::Answer(answer) => Ok(answer),
            Reply::Refused { reason } => Err(RemoteError::Refused { node: to, reason }),
            Reply::TimedOut => Err(RemoteError::TimedOut { node: to }),
        }
    }

    /// Answers what the peer of `link` asked, unless it no longer wants to know.
    pub(super) async fn reply(&self, link: &Arc<Link>, mut send: SendStream, asked: Asked) {
        let Some(hooks) = self.hooks.get() else {
            return;
        };
        let Asked {
            within_ms,
            question,
        } = asked;
        let _ = send.set_priority(PRIORITY_CALLS);
        let refused = |reason: &str| Reply::Refused {
            reason: reason.to_owned(),
        };
        if !self.stays(link.peer, link.standing) {
            return;
        }
        let reply = if link.standing == Standing::Stranger && !question.is_for_strangers() {
            refused("only members may ask this")
        } else {
            let within = Duration::from_millis(within_ms).min(ANSWER);
            let answer = hooks.answers.answer(link.peer, link.standing, question);
            tokio::select! {
                biased;
                _ = send.stopped() => return drop(send.reset(code::STOPPING)),
                answer = tokio::time::timeout(within, answer) => match answer {
                    Ok(Ok(answer)) => Reply::Answer(answer),
                    Ok(Err(reason)) => refused(&reason),
                    Err(_) => Reply::TimedOut,
                },
            }
        };
        let mut bytes = Vec::new();
        if let Err(error) = frame::encode(Kind::Answer, &reply, &mut bytes) {
            tracing::error!(peer = %link.peer, %error, "an answer is too long");
            let reply = refused("the answer is too long");
            // What was encoded here is shorter than any limit.
            let _ = frame::encode(Kind::Answer, &reply, &mut bytes);
        }
        if send.write_all(&bytes).await.is_ok() {
            let _ = send.finish();
        }
    }
}
