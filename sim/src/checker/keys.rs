//! The keys that tickets are signed with never go back, and nobody is turned away because they changed.

use super::{Verdict, require};
use troop_actors::contract::Time;
use troop_actors::doorkeeper::protocol::Turnaway;
use troop_actors::ids::NodeId;
use troop_actors::ticket::TicketError;

/// What the coordinator has said of its keys.
#[derive(Debug, Default)]
pub struct Keys {
    since: Time,
    revoked: bool,
}

impl Keys {
    /// The coordinator says since when its keys are in use.
    pub fn told(&mut self, since: Time) -> Verdict {
        require(since >= self.since, "keys never go back", || {
            format!("keys since {:?} were said, and now {since:?}", self.since)
        })?;
        self.since = since;
        Ok(())
    }

    /// Tickets of before are taken back from now on.
    pub fn revoked(&mut self) {
        self.revoked = true;
    }

    /// A door turns somebody away, in a run where nothing goes wrong.
    pub fn turned(&self, door: NodeId, reason: &Turnaway) -> Verdict {
        let by_key = matches!(
            reason,
            Turnaway::New
                | Turnaway::Ticket(
                    TicketError::UnknownKey | TicketError::RetiredKey | TicketError::Epoch { .. }
                )
        );
        require(!by_key || self.revoked, "a rotation is not noticed", || {
            format!("{door:?} turned an honest ticket away: {reason}")
        })
    }
}
