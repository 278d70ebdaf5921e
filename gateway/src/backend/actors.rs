//! The backend of a running node: the other actors, asked by their handles.

mod checkup;
mod explain;
mod members;
mod nodes;
mod troop;
mod worker;

use super::claims::Claims;
use super::known::Known;
use super::{Backend, Check, Later, Model};
use crate::control;
use crate::problem::Problem;
use crate::text::{plain, shown};
use hyper::StatusCode;
use members::{account_line, key_problem};
use ractor::ActorCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use troop_actors::ids::{MemberId, NodeKey, Passport};
use troop_actors::keyring::KeyringHandle;
use troop_actors::ledger::LedgerHandle;
use troop_actors::model_store::Store;
use troop_actors::outbox::OutboxHandle;
use troop_actors::scheduler::SchedulerHandle;
use troop_actors::session::protocol::Order;
use troop_actors::session::{self, Deliveries, OpenError};
use troop_actors::shell::Node;

/// See the module's page.
pub struct Actors {
    node: Arc<Node>,
    key: NodeKey,
    owner: MemberId,
    store: Option<Arc<Store>>,
    worker: bool,
    known: Known,
    reached_at: Arc<dyn Fn() -> Vec<SocketAddr> + Send + Sync>,
}

impl Actors {
    /// The actors of `node`, which signs with `key` and belongs to `owner`. Models are loaded from `store`;
    /// `worker` says whether this node is to have engines.
    pub fn new(
        node: Arc<Node>,
        key: NodeKey,
        owner: MemberId,
        store: Option<Arc<Store>>,
        worker: bool,
    ) -> Actors {
        Actors {
            node,
            key,
            owner,
            store,
            worker,
            known: Known::default(),
            reached_at: Arc::new(Vec::new),
        }
    }

    /// The same, on a node that others find at the addresses that `reached_at` says; it is asked whenever
    /// somebody is invited, because networks come and go.
    pub fn reached_at(
        self,
        reached_at: impl Fn() -> Vec<SocketAddr> + Send + Sync + 'static,
    ) -> Actors {
        Actors {
            reached_at: Arc::new(reached_at),
            ..self
        }
    }

    fn coordinator(&self) -> bool {
        self.node.coordinates()
    }

    /// Books, keys and members are kept in one place.
    fn must_coordinate(&self) -> Result<(), Problem> {
        match self.coordinator() {
            true => Ok(()),
            false => Err(Problem::new(
                StatusCode::CONFLICT,
                "not_a_coordinator",
                "this node belongs to a troop; its coordinator keeps the books, the keys and the members",
            )),
        }
    }

    fn ledger(&self) -> LedgerHandle {
        LedgerHandle::new(self.node.clone())
    }

    fn keyring(&self) -> KeyringHandle {
        KeyringHandle::new(self.node.clone())
    }

    fn scheduler(&self) -> SchedulerHandle {
        SchedulerHandle::new(self.node.clone())
    }
}

impl Backend for Actors {
    fn open(&self, order: Order, parent: ActorCell) -> Later<'_, Result<Deliveries, Problem>> {
        Box::pin(async move {
            session::open(&self.node, &self.key, order, Some(parent))
                .await
                .map_err(|error| match error {
                    OpenError::Full { .. } => Problem::overloaded(error.to_string(), 1000),
                    OpenError::NotStarted => Problem::unavailable("session"),
                })
        })
    }

    fn models(&self) -> Later<'_, Result<Vec<Model>, Problem>> {
        Box::pin(async move {
            let now = self.node.clock.now();
            let Ok(catalog) = self.scheduler().catalog().await else {
                let known = self.known.with(now, Vec::new());
                return match known.is_empty() {
                    true => Err(Problem::unavailable("scheduler")),
                    false => Ok(known),
                };
            };
            // Several workers may serve one model; the shortest context among them is what can be promised.
            let mut models: BTreeMap<(String, Passport), Model> = BTreeMap::new();
            let claims = Claims::of(self.node.wiring.me, &catalog);
            for (_, report) in catalog {
                let model = Model {
                    name: report.name,
                    passport: report.model,
                    context: report.context,
                    created_seconds: report.created_seconds,
                };
                models
                    .entry((model.name.clone(), model.passport))
                    .and_modify(|known| known.context = known.context.min(model.context))
                    .or_insert(model);
            }
            let mut models = self.known.with(now, models.into_values().collect());
            claims.order(&mut models);
            Ok(models)
        })
    }

    fn who<'a>(&'a self, key: &'a str) -> Later<'a, Result<Option<MemberId>, Problem>> {
        Box::pin(async move {
            match self.keyring().who(key).await {
                Ok(record) => Ok(record.map(|record| record.member)),
                Err(error) => Err(key_problem(&error)),
            }
        })
    }

    fn checks(&self) -> Later<'_, Vec<Check>> {
        Box::pin(async move {
            let answers = |name, ok| Check {
                name,
                ok,
                detail: if ok { "answers" } else { "does not answer" }.to_owned(),
            };
            let mut checks = Vec::new();
            if self.coordinator() {
                checks.push(answers("ledger", self.ledger().open_holds().await.is_ok()));
                checks.push(answers("keyring", self.keyring().list().await.is_ok()));
                checks.push(answers("scheduler", self.scheduler().stats().await.is_ok()));
            }
            let outbox = OutboxHandle::new(self.node.clone());
            checks.push(answers("outbox", outbox.pending().await.is_some()));
            if self.worker {
                checks.push(self.check_engines().await);
            }
            let models = self.models().await.unwrap_or_default();
            let names: Vec<String> = models.iter().map(|model| shown(&model.name)).collect();
            checks.push(Check {
                name: "models",
                ok: !names.is_empty(),
                detail: if names.is_empty() {
                    "no worker serves a model yet".to_owned()
                } else {
                    names.join(", ")
                },
            });
            checks
        })
    }

    fn engines(&self) -> Later<'_, Result<Vec<control::Engine>, Problem>> {
        Box::pin(self.list_engines())
    }

    fn queue(&self) -> Later<'_, Result<control::Queue, Problem>> {
        Box::pin(async move {
            let stats = self.scheduler().stats().await;
            let stats = stats.map_err(|_| Problem::unavailable("scheduler"))?;
            Ok(control::Queue {
                waiting: stats.waiting,
                running: stats.running,
                workers: stats.workers,
                granted: stats.counts.granted,
                busy: stats.counts.busy,
                refused: stats.counts.refused,
            })
        })
    }

    fn explain<'a>(&'a self, request: &'a str) -> Later<'a, Result<control::Explanation, Problem>> {
        Box::pin(self.explain_of(request))
    }

    fn account<'a>(
        &'a self,
        member: Option<&'a str>,
    ) -> Later<'a, Result<control::Account, Problem>> {
        Box::pin(self.account_of(member))
    }

    fn accounts(&self) -> Later<'_, Result<Vec<control::Account>, Problem>> {
        Box::pin(async move {
            self.must_coordinate()?;
            let accounts = self.ledger().accounts().await;
            let accounts = accounts.map_err(|_| Problem::unavailable("ledger"))?;
            Ok(accounts
                .iter()
                .map(|(member, account)| account_line(*member, account))
                .collect())
        })
    }

    fn verify(&self) -> Later<'_, Result<control::Verified, Problem>> {
        Box::pin(async move {
            self.must_coordinate()?;
            let verdict = self.ledger().verify().await;
            let verdict = verdict.map_err(|_| Problem::unavailable("ledger"))?;
            let verdict = verdict.map_err(|error| {
                Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "ledger_unreadable",
                    plain(&error.to_string()),
                )
            })?;
            Ok(control::Verified {
                ok: verdict.faults.is_empty(),
                entries: verdict.entries,
                head: verdict.head.to_string(),
                accounts: verdict.accounts,
                holds_open: verdict.open_holds,
                supply_micros: verdict.supply,
                faults: verdict.faults.iter().map(|fault| plain(fault)).collect(),
            })
        })
    }

    fn create_key(
        &self,
        wanted: control::KeyWanted,
    ) -> Later<'_, Result<control::KeyMade, Problem>> {
        Box::pin(self.make_key(wanted))
    }

    fn credit(
        &self,
        wanted: control::CreditWanted,
    ) -> Later<'_, Result<control::Account, Problem>> {
        Box::pin(self.give(wanted))
    }

    fn keys(&self) -> Later<'_, Result<Vec<control::Key>, Problem>> {
        Box::pin(async move {
            self.must_coordinate()?;
            let records = self.keyring().list().await;
            let records = records.map_err(|error| key_problem(&error))?;
            Ok(records
                .into_iter()
                .map(|record| control::Key {
                    prefix: record.prefix,
                    member: record.member.to_string(),
                    name: record.name,
                    created_seconds: record.created.seconds(),
                })
                .collect())
        })
    }

    fn revoke_key<'a>(&'a self, prefix: &'a str) -> Later<'a, Result<(), Problem>> {
        Box::pin(async move {
            self.must_coordinate()?;
            let revoked = self.keyring().revoke(prefix).await;
            revoked.map_err(|error| key_problem(&error))
        })
    }

    fn pause(&self, wanted: control::PauseWanted) -> Later<'_, Result<(), Problem>> {
        Box::pin(self.take_back_machine(wanted))
    }

    fn resume(&self) -> Later<'_, Result<(), Problem>> {
        Box::pin(self.give_machine())
    }

    fn worker(&self) -> Later<'_, Result<Option<control::Worker>, Problem>> {
        Box::pin(self.how_it_works())
    }

    fn checkup(&self) -> Later<'_, control::Checkup> {
        Box::pin(self.check_up())
    }

    fn load<'a>(&'a self, name: &'a str) -> Later<'a, Result<control::Loading, Problem>> {
        Box::pin(self.load_called(name))
    }

    fn invite(
        &self,
        wanted: control::InviteWanted,
    ) -> Later<'_, Result<control::InviteMade, Problem>> {
        Box::pin(self.make_invite(wanted))
    }

    fn invites(&self) -> Later<'_, Result<Vec<control::Invite>, Problem>> {
        Box::pin(self.list_invites())
    }

    fn revoke_invite<'a>(&'a self, prefix: &'a str) -> Later<'a, Result<control::Invite, Problem>> {
        Box::pin(self.take_back(prefix))
    }

    fn nodes(&self) -> Later<'_, Result<Vec<control::NodeLine>, Problem>> {
        Box::pin(self.list_nodes())
    }

    fn coordinator(&self) -> Later<'_, Result<Option<control::NodeLine>, Problem>> {
        Box::pin(self.find_coordinator())
    }

    fn ping<'a>(&'a self, pick: &'a str) -> Later<'a, Result<control::Ping, Problem>> {
        Box::pin(self.ping_node(pick))
    }

    fn rotate(
        &self,
        wanted: control::RotateWanted,
    ) -> Later<'_, Result<control::TicketKeys, Problem>> {
        Box::pin(self.rotate_keys(wanted))
    }

    fn members(&self) -> Later<'_, Result<Vec<control::Member>, Problem>> {
        Box::pin(self.list_members())
    }

    fn remove_member<'a>(&'a self, pick: &'a str) -> Later<'a, Result<control::Member, Problem>> {
        Box::pin(self.put_out(pick))
    }
}
