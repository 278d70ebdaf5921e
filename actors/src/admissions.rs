//! Invitations, and the members who came by them.
//!
//! Lives on coordinators. The command line invites and puts out; joining nodes redeem, members renew, both by
//! questions over the network; whoever judges a peer asks how it stands; the `TicketIssuer` hears who is out. When it dies it reopens its file: what
//! it has told anybody is there.

pub mod protocol;
mod register;
mod store;

pub use protocol::{AdmissionError, InviteRecord, JoinRefusal, MemberRecord, Standing, Terms};
pub use register::{Register, TTL_MS_MAX, USES_MAX};

use crate::certificate::RoleSet;
use crate::ids::{NodeId, NodeKey, digest};
use crate::invitation::Secret;
use crate::ledger::LedgerHandle;
use crate::ledger::protocol::GrantError;
use crate::names;
use crate::questions::{Answer, Question};
use crate::routing::Message;
use crate::shell::{Node, Seat};
use crate::store::{StoreError, Writer, reopen};
use crate::ticket::Revoked;
use crate::ticket_issuer;
use protocol::{Change, Done, Effect, Input, Order};
use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;
use store::AdmissionsStore;

/// The way in for everybody else: finds the actor, asks it, and does not wait longer than a deadline.
#[derive(Clone)]
pub struct AdmissionsHandle(Arc<Node>);

impl AdmissionsHandle {
    /// The handle to the admissions of `node`.
    pub fn new(node: Arc<Node>) -> AdmissionsHandle {
        AdmissionsHandle(node)
    }

    /// Makes an invitation; its secret is returned this once and kept nowhere.
    pub async fn invite(&self, terms: Terms) -> Result<(Secret, InviteRecord), AdmissionError> {
        let mut secret = Secret([0; 16]);
        self.0.entropy.fill(&mut secret.0);
        let hash = secret.hash();
        match self.order(Order::Invite { hash, terms }).await? {
            Done::Invite(invite) => Ok((secret, *invite)),
            _ => Err(AdmissionError::Away),
        }
    }

    /// Takes back the invitation whose id begins with `prefix`.
    pub async fn revoke(&self, prefix: &str) -> Result<InviteRecord, AdmissionError> {
        let prefix = prefix.to_owned();
        match self.order(Order::Revoke { prefix }).await? {
            Done::Invite(invite) => Ok(*invite),
            _ => Err(AdmissionError::Away),
        }
    }

    /// All invitations that are kept, in order of their making.
    pub async fn invites(&self) -> Result<Vec<InviteRecord>, AdmissionError> {
        self.ask(AdmissionsMessage::Invites).await
    }

    /// Lets `node` in by `secret`, gives a new member its first credits, and returns the certificate. Asked
    /// again, it does the same once.
    pub async fn redeem(
        &self,
        node: NodeId,
        secret: Secret,
        roles: RoleSet,
        name: &str,
    ) -> Result<Vec<u8>, JoinRefusal> {
        let order = Order::Redeem {
            node,
            secret,
            roles,
            name: name.to_owned(),
        };
        let (member, certificate) = self.admit(order).await?;
        self.open_account(&member).await?;
        Ok(certificate)
    }

    /// The present certificate of the member `node`, or its next one where it is time.
    pub async fn renew(&self, node: NodeId) -> Result<Vec<u8>, JoinRefusal> {
        let (_, certificate) = self.admit(Order::Renew { node }).await?;
        Ok(certificate)
    }

    /// The answer to a question of the node `from`, if it is one for the admissions.
    pub async fn answer(&self, from: NodeId, question: &Question) -> Option<Answer> {
        let admitted = match question {
            Question::Join {
                secret,
                roles,
                name,
            } => self.redeem(from, *secret, *roles, name).await,
            Question::Renew => self.renew(from).await,
            _ => return None,
        };
        Some(match admitted {
            Ok(certificate) => Answer::Joined { certificate },
            Err(refusal) => Answer::JoinRefused { refusal },
        })
    }

    /// All nodes that belong, in order of their coming.
    pub async fn members(&self) -> Result<Vec<MemberRecord>, AdmissionError> {
        self.ask(AdmissionsMessage::Members).await
    }

    /// Puts out the node of this name, or whose id begins so.
    pub async fn remove(&self, pick: &str) -> Result<MemberRecord, AdmissionError> {
        let pick = pick.to_owned();
        match self.order(Order::Remove { pick }).await? {
            Done::Removed(member) => Ok(*member),
            _ => Err(AdmissionError::Away),
        }
    }

    /// How a node stands with the troop.
    pub async fn standing(&self, node: NodeId) -> Result<Standing, AdmissionError> {
        self.ask(|reply| AdmissionsMessage::Standing(node, reply))
            .await
    }

    async fn admit(&self, order: Order) -> Result<(MemberRecord, Vec<u8>), JoinRefusal> {
        match self.order(order).await {
            Ok(Done::Admitted(member, certificate)) => Ok((*member, certificate)),
            Err(AdmissionError::Refused(refusal)) => Err(refusal),
            Ok(_) | Err(_) => Err(JoinRefusal::Busy),
        }
    }

    /// A new member's first credits: one grant, by the number of the first certificate.
    async fn open_account(&self, member: &MemberRecord) -> Result<(), JoinRefusal> {
        let Some((serial, amount)) = member.opening else {
            return Ok(());
        };
        let certificate = &member.certificate;
        let parts = [
            &certificate.troop.0[..],
            &certificate.node.0,
            &serial.to_le_bytes(),
        ];
        let mut id = [0; 16];
        id.copy_from_slice(&digest("troop/grant/admission/v1", &parts).0[..16]);
        let granted = LedgerHandle::new(self.0.clone())
            .grant(id, certificate.member, &certificate.name, amount)
            .await;
        match granted {
            Ok(Ok(())) => Ok(()),
            Ok(Err(GrantError::Unwritten)) | Err(_) => Err(JoinRefusal::Busy),
            // The books cannot hold more: a member all the same, who earns what it needs.
            Ok(Err(error)) => {
                tracing::warn!(%error, node = %certificate.node, "a new member has no first credits");
                Ok(())
            }
        }
    }

    async fn order(&self, order: Order) -> Result<Done, AdmissionError> {
        self.ask(|reply| AdmissionsMessage::Order(order, reply))
            .await?
    }

    async fn ask<T: Send + 'static>(
        &self,
        message: impl FnOnce(RpcReplyPort<T>) -> AdmissionsMessage,
    ) -> Result<T, AdmissionError> {
        let actor = self
            .0
            .directory
            .find(|entries| entries.admissions.clone())
            .ok_or(AdmissionError::Away)?;
        match actor.call(message, Some(CALL_DEADLINE)).await {
            Ok(ractor::rpc::CallResult::Success(answer)) => Ok(answer),
            _ => Err(AdmissionError::Away),
        }
    }
}

/// Who was put out: for whoever judges a peer and cannot wait for an answer.
#[derive(Clone, Default)]
pub struct Outcasts(Arc<Out>);

#[derive(Default)]
struct Out {
    nodes: RwLock<BTreeSet<NodeId>>,
    part: OnceLock<Box<dyn Fn(NodeId) + Send + Sync>>,
}

impl Outcasts {
    /// Has `part` end what is open with whoever is put out from now on. The first call counts.
    pub fn part_by(&self, part: impl Fn(NodeId) + Send + Sync + 'static) {
        let _ = self.0.part.set(Box::new(part));
    }

    /// Whether `node` was put out.
    pub fn has(&self, node: NodeId) -> bool {
        let nodes = self.0.nodes.read().unwrap_or_else(|dead| dead.into_inner());
        nodes.contains(&node)
    }

    /// All who were put out.
    pub fn all(&self) -> Vec<NodeId> {
        let nodes = self.0.nodes.read().unwrap_or_else(|dead| dead.into_inner());
        nodes.iter().copied().collect()
    }

    /// From now on these are out too.
    pub fn add(&self, nodes: impl IntoIterator<Item = NodeId>) {
        for node in nodes {
            let mut out = self
                .0
                .nodes
                .write()
                .unwrap_or_else(|dead| dead.into_inner());
            let new = out.insert(node);
            drop(out);
            if let Some(part) = self.0.part.get().filter(|_| new) {
                part(node);
            }
        }
    }
}

/// All an admissions office needs from outside.
pub struct AdmissionsArgs {
    /// The node it works for.
    pub node: Arc<Node>,
    /// The coordinator's key, which is what members believe.
    pub key: NodeKey,
    /// Its file.
    pub path: PathBuf,
    /// Where it says who was put out.
    pub outcasts: Outcasts,
}

/// The actor.
pub struct Admissions;

type Reply = RpcReplyPort<Result<Done, AdmissionError>>;

/// The core in its seat, its writer, and who waits for an answer.
pub struct AdmissionsState {
    seat: Seat<Register>,
    writer: Writer<(u64, Box<Change>)>,
    waiting: BTreeMap<u64, Reply>,
    calls: u64,
    outcasts: Outcasts,
}

impl AdmissionsState {
    fn step(&mut self, input: Input) -> Result<(), StoreError> {
        let ports = self.seat.step(input);
        for port in ports {
            match port {
                Effect::Persist { write, change } => self.writer.put((write, change))?,
                Effect::PutOut { node } => {
                    self.outcasts.add([node]);
                    let revoke =
                        ticket_issuer::protocol::Input::Revoke(vec![Revoked::Client(node)]);
                    let here = self.seat.node();
                    here.send(here.wiring.me, Message::TicketIssuer(revoke));
                }
                Effect::Answer { call, outcome } => {
                    if let Some(reply) = self.waiting.remove(&call) {
                        // Whoever asked may have gone; the deed stands.
                        let _ = reply.send(outcome);
                    }
                }
            }
        }
        Ok(())
    }
}

#[ractor::actor(
    message = pub enum AdmissionsMessage,
    state = AdmissionsState,
    arguments = AdmissionsArgs,
)]
impl Admissions {
    async fn pre_start(
        &self,
        myself: ActorRef<AdmissionsMessage>,
        args: AdmissionsArgs,
    ) -> Result<AdmissionsState, ActorProcessingErr> {
        let (store, kept) = reopen(&args.path, |database| {
            let store = AdmissionsStore::open(database)?;
            let kept = store.load()?;
            Ok((store, kept))
        })
        .await?;
        let register = Register::new(args.key, kept);
        args.outcasts.add(register.removed());
        let me = myself.clone();
        let writer = Writer::start(
            names::ADMISSIONS,
            move |(write, change): (u64, Box<Change>)| store.write(&change).map(|()| write),
            move |result| {
                let input = match result {
                    Ok(write) => Input::Persisted { write },
                    Err(error) => Input::PersistFailed {
                        message: error.message,
                    },
                };
                let _ = me.cast(AdmissionsMessage::Input(input));
            },
        )?;
        args.node
            .directory
            .enter(|entries| entries.admissions = Some(myself));
        let seat = Seat::new(names::ADMISSIONS, register, args.node);
        Ok(AdmissionsState {
            seat,
            writer,
            waiting: BTreeMap::new(),
            calls: 0,
            outcasts: args.outcasts,
        })
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(&self, input: Input, state: &mut AdmissionsState) -> Result<(), ActorProcessingErr> {
        let failed = matches!(input, Input::PersistFailed { .. });
        state.step(input)?;
        if failed {
            Err("the admissions' file could not be written".into())
        } else {
            Ok(())
        }
    }

    /// Something is asked that is answered once it is durable.
    #[ractor::message(Order(order, reply))]
    fn order(
        &self,
        order: Order,
        reply: RpcReplyPort<Result<Done, AdmissionError>>,
        state: &mut AdmissionsState,
    ) -> Result<(), ActorProcessingErr> {
        state.calls += 1;
        let call = state.calls;
        state.waiting.insert(call, reply);
        Ok(state.step(Input::Order { call, order })?)
    }

    /// All invitations.
    #[ractor::rpc(Invites(reply))]
    fn invites(&self, state: &mut AdmissionsState) -> Vec<InviteRecord> {
        state.seat.asked("Invites").invites()
    }

    /// All members.
    #[ractor::rpc(Members(reply))]
    fn members(&self, state: &mut AdmissionsState) -> Vec<MemberRecord> {
        state.seat.asked("Members").members()
    }

    /// How a node stands.
    #[ractor::rpc(Standing(node, reply))]
    fn standing(&self, node: NodeId, state: &mut AdmissionsState) -> Standing {
        state.seat.asked("Standing").standing(node)
    }
}

/// How long a call may take; a commit takes milliseconds.
const CALL_DEADLINE: Duration = Duration::from_secs(5);
