//! How the coordinator sees this node: how far it is, what its clock says, and whether it can dial this node.

use super::Actors;
use crate::control::{Checkup, CoordinatorSeen};
use crate::text::plain;
use std::time::Duration;
use troop_actors::questions::{Answer, Question, RemoteError};

impl Actors {
    pub(super) async fn check_up(&self) -> Checkup {
        let schema = "troop.checkup/v1".to_owned();
        if self.coordinator() {
            return Checkup {
                schema,
                coordinates: true,
                ..Checkup::default()
            };
        }
        let (coordinator, failure) = match self.seen().await {
            Ok(seen) => (Some(seen), None),
            Err(failure) => (None, Some(plain(&failure))),
        };
        Checkup {
            schema,
            coordinates: false,
            coordinator,
            failure,
        }
    }

    async fn seen(&self) -> Result<CoordinatorSeen, String> {
        let clock = &self.node.clock;
        // The first question may have to make the connection, which takes longer.
        self.asked(Question::Seen).await?;
        let asked = clock.now();
        let answer = self.asked(Question::Seen).await?;
        let answered = clock.now();
        let Answer::Seen { at, now } = answer else {
            return Err(ANOTHER.to_owned());
        };
        let (reached, unreached) = match self.asked(Question::DialBack).await {
            Ok(Answer::DialledBack { failure }) => (Some(failure.is_none()), failure),
            Ok(_) => (None, Some(ANOTHER.to_owned())),
            Err(why) => (None, Some(why)),
        };
        let rtt_ms = answered.since_ms(asked);
        // On the way there and on the way back it took about as long.
        let middle = asked.plus_ms(rtt_ms / 2);
        Ok(CoordinatorSeen {
            rtt_ms,
            ahead_ms: now.0.saturating_sub(middle.0) as i64 - middle.0.saturating_sub(now.0) as i64,
            seen_at: at.to_string(),
            reached,
            unreached: unreached.map(|why| plain(&why)),
        })
    }

    async fn asked(&self, question: Question) -> Result<Answer, String> {
        let asked = self.node.ask_coordinator(question, PATIENCE).await;
        asked.map_err(|error: RemoteError| error.to_string())
    }
}

/// A coordinator that answers is quick, but for dialling back, which takes a handshake's time at most.
const PATIENCE: Duration = Duration::from_secs(8);
const ANOTHER: &str = "the coordinator answered another question";
