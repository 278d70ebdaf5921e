//! `--join`: from an invitation to an enrolment, before the node starts.

use super::Context;
use super::fault::{Code, Fault};
use crate::enrolment::{Enrolment, JoinError, Wish, join};
use crate::leaves::{SystemClock, SystemEntropy};
use crate::machine;
use crate::neighbours::ask_inviter;
use std::sync::Arc;
use troop_actors::admissions::JoinRefusal;
use troop_actors::certificate::RoleSet;
use troop_actors::ids::NodeKey;
use troop_actors::invitation::Invitation;
use troop_actors::ports::Clock;
use troop_actors::questions::{Question, RemoteError};

/// The troop this node belongs to, and what it may be there; nothing where it belongs to none. With an invitation it
/// joins first, unless it has done so before.
pub(super) async fn enrolment(
    context: &Context,
    invitation: Option<&Invitation>,
    wanted: Option<RoleSet>,
) -> Result<Option<(Enrolment, RoleSet)>, Fault> {
    context.home.make()?;
    let present = Enrolment::load(&context.home)?;
    let entropy = Arc::new(SystemEntropy);
    let key = context.home.key(&*entropy)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let joiner = Joiner {
        context,
        key,
        clock,
        entropy,
    };
    let enrolment = match (invitation, present) {
        (None, None) => return Ok(None),
        // A certificate that is to be renewed is, as soon as the node runs.
        (None, Some(present)) => present,
        (Some(invitation), present) => joiner.join(invitation, present, wanted).await?,
    };
    let certificate = enrolment
        .verify(joiner.key.node(), joiner.clock.now())
        .map_err(|error| {
            Fault::new(Code::Unauthorised, error)
                .hint("troop leave, and join with a new invitation")
        })?;
    Ok(Some((enrolment, certificate.roles)))
}

struct Joiner<'a> {
    context: &'a Context,
    key: NodeKey,
    clock: Arc<dyn Clock>,
    entropy: Arc<SystemEntropy>,
}

impl Joiner<'_> {
    async fn join(
        &self,
        invitation: &Invitation,
        present: Option<Enrolment>,
        wanted: Option<RoleSet>,
    ) -> Result<Enrolment, Fault> {
        let known = present.clone();
        // Where nothing is said, the machine does what it may already, or what it was invited for.
        let may = known
            .as_ref()
            .filter(|known| known.troop == invitation.coordinator)
            .and_then(|known| known.verify(self.key.node(), self.clock.now()).ok())
            .map(|certificate| certificate.roles);
        let roles = wanted
            .or(may)
            .unwrap_or(RoleSet::CLIENT.and(RoleSet::WORKER));
        let enrolment = match self.ask(invitation, present.clone(), roles).await {
            Err(JoinError::Refused(JoinRefusal::Role { allowed })) if wanted.is_none() => {
                self.ask(invitation, present, allowed).await
            }
            outcome => outcome,
        }?;
        if known.as_ref() != Some(&enrolment) {
            enrolment.save(&self.context.home)?;
        }
        let new = known.is_none_or(|known| known.certificate != enrolment.certificate);
        if new {
            let troop = enrolment.troop.to_string();
            self.context
                .say(format_args!("Joined   the troop of {}", &troop[..12]));
        }
        Ok(enrolment)
    }

    async fn ask(
        &self,
        invitation: &Invitation,
        present: Option<Enrolment>,
        roles: RoleSet,
    ) -> Result<Enrolment, JoinError> {
        let wish = Wish {
            me: self.key.node(),
            roles,
            name: machine::name(),
        };
        let (key, clock) = (self.key.clone(), self.clock.clone());
        let entropy = self.entropy.clone();
        let ask =
            async |question: Question| ask_inviter(key, clock, entropy, invitation, question).await;
        join(invitation, present, &wish, self.clock.now(), ask).await
    }
}

impl From<JoinError> for Fault {
    fn from(error: JoinError) -> Fault {
        let fault = Fault::failed("this node has not joined");
        match error {
            JoinError::Another { .. } => Fault::usage(error).hint("troop leave"),
            JoinError::Refused(refusal) => Fault::new(Code::Unauthorised, "this node has not joined")
                .because(refusal)
                .hint("troop invite, on the coordinator, makes a new invitation"),
            JoinError::Unanswered(RemoteError::Unreachable { .. }) => Fault::new(
                Code::Unreachable,
                "this node has not joined: the coordinator cannot be reached",
            )
            .because(error)
            .hint("is its UDP port open to this machine? troop invite --address IP:PORT names another"),
            error => fault.because(error),
        }
    }
}
