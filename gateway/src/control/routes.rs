//! The owner's routes: what the command line asks a running node.

use super::*;
use crate::gateway::shared::{Phase, Shared};
use crate::health;
use crate::openai::error;
use crate::problem::Problem;
use crate::reply::{Reply, json};
use crate::request_body;
use crate::route::{only, unknown_path};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Answers one of the paths below `/v1/troop/`; the peer is the owner.
pub(crate) async fn answer(
    path: &str,
    request: Request<Incoming>,
    shared: &Arc<Shared>,
) -> Result<Reply, Problem> {
    let method = request.method().clone();
    let get = || only(&method, &[Method::GET], "GET");
    let post = || only(&method, &[Method::POST], "POST");
    let backend = &shared.backend;
    let reply = match path {
        "status" => {
            get()?;
            json(StatusCode::OK, &status(shared).await)
        }
        "ps" => {
            get()?;
            let engines = shared.ask("engine keeper", backend.engines()).await?;
            let requests = shared.open().values().cloned().collect();
            let schema = "troop.ps/v1".to_owned();
            json(
                StatusCode::OK,
                &Ps {
                    schema,
                    engines,
                    requests,
                },
            )
        }
        "checkup" => {
            get()?;
            // Every question of it ends by a deadline of its own.
            json(StatusCode::OK, &backend.checkup().await)
        }
        "balance" => {
            get()?;
            let member = parameter(&request, "member")?;
            let asked = backend.account(member.as_deref());
            let account = shared.ask("ledger", asked).await?;
            let schema = "troop.balance/v1".to_owned();
            json(StatusCode::OK, &Balance { schema, account })
        }
        "accounts" => {
            get()?;
            let accounts = shared.ask("ledger", backend.accounts()).await?;
            let schema = "troop.accounts/v1".to_owned();
            json(StatusCode::OK, &Accounts { schema, accounts })
        }
        "ledger/verify" => {
            get()?;
            // It takes as long as the books are thick, and ends by a deadline of its own.
            let verified = backend.verify().await?;
            let schema = "troop.ledger.verify/v1".to_owned();
            json(StatusCode::OK, &LedgerVerified { schema, verified })
        }
        "keys" if method == Method::GET => {
            let keys = shared.ask("keyring", backend.keys()).await?;
            let schema = "troop.keys/v1".to_owned();
            json(StatusCode::OK, &Keys { schema, keys })
        }
        "keys" => {
            only(&method, &[Method::POST], "GET, POST")?;
            let wanted: KeyWanted = read(request, shared).await?;
            let made = shared.ask("keyring", backend.create_key(wanted)).await?;
            let schema = "troop.key.created/v1".to_owned();
            json(StatusCode::CREATED, &KeyCreated { schema, made })
        }
        "credits" => {
            post()?;
            let wanted: CreditWanted = read(request, shared).await?;
            let account = shared.ask("ledger", backend.credit(wanted)).await?;
            let schema = "troop.credit/v1".to_owned();
            json(StatusCode::OK, &CreditGiven { schema, account })
        }
        "models/load" => {
            post()?;
            let wanted: LoadWanted = read(request, shared).await?;
            let asked = backend.load(&wanted.model);
            let loading = shared.ask("engine keeper", asked).await?;
            let schema = "troop.model.load/v1".to_owned();
            json(StatusCode::ACCEPTED, &Loaded { schema, loading })
        }
        "pause" => {
            post()?;
            let wanted: PauseWanted = read(request, shared).await?;
            shared.ask("engine keeper", backend.pause(wanted)).await?;
            json(StatusCode::ACCEPTED, &paused(true))
        }
        "resume" => {
            post()?;
            shared.ask("engine keeper", backend.resume()).await?;
            json(StatusCode::ACCEPTED, &paused(false))
        }
        "drain" => {
            post()?;
            let requests_open = shared.open().len();
            shared.stop.notify_one();
            let schema = "troop.drain/v1".to_owned();
            json(
                StatusCode::ACCEPTED,
                &Draining {
                    schema,
                    requests_open,
                },
            )
        }
        "invites" if method == Method::GET => {
            let invites = shared.ask("admissions", backend.invites()).await?;
            let schema = "troop.invites/v1".to_owned();
            json(StatusCode::OK, &Invites { schema, invites })
        }
        "invites" => {
            only(&method, &[Method::POST], "GET, POST")?;
            let wanted: InviteWanted = read(request, shared).await?;
            let made = shared.ask("admissions", backend.invite(wanted)).await?;
            let schema = "troop.invite.created/v1".to_owned();
            json(StatusCode::CREATED, &InviteCreated { schema, made })
        }
        "nodes" => {
            get()?;
            let nodes = shared.ask("membership", backend.nodes()).await?;
            let schema = "troop.nodes/v1".to_owned();
            json(StatusCode::OK, &Nodes { schema, nodes })
        }
        "ping" => {
            get()?;
            let pick = parameter(&request, "node")?.unwrap_or_default();
            // A node that is away is dialled first: it ends by a deadline of its own.
            json(StatusCode::OK, &backend.ping(&pick).await?)
        }
        "rotate" => {
            post()?;
            let wanted: RotateWanted = read(request, shared).await?;
            let keys = shared.ask("ticket issuer", backend.rotate(wanted)).await?;
            let schema = "troop.rotate/v1".to_owned();
            json(StatusCode::OK, &Rotated { schema, keys })
        }
        "members" => {
            get()?;
            let members = shared.ask("admissions", backend.members()).await?;
            let schema = "troop.members/v1".to_owned();
            json(StatusCode::OK, &Members { schema, members })
        }
        _ => match path.strip_prefix("explain/") {
            Some(named) if !named.is_empty() => {
                get()?;
                let named = crate::route::percent_decoded(named)?;
                let request = shared.request_called(&named);
                let told = shared.ask("scheduler", backend.explain(&request)).await?;
                json(StatusCode::OK, &told)
            }
            _ => return remove(path, &method, shared).await,
        },
    };
    Ok(reply)
}

/// What is named in the path ceases to be.
async fn remove(path: &str, method: &Method, shared: &Arc<Shared>) -> Result<Reply, Problem> {
    // Everything begins with nothing.
    let (kind, named) = match path.split_once('/') {
        Some((kind @ ("keys" | "invites" | "members"), named)) if !named.is_empty() => {
            (kind, named)
        }
        _ => return Ok(error::response(&unknown_path())),
    };
    only(method, &[Method::DELETE], "DELETE")?;
    let named = crate::route::percent_decoded(named)?;
    let backend = &shared.backend;
    Ok(match kind {
        "keys" => {
            shared.ask("keyring", backend.revoke_key(&named)).await?;
            let schema = "troop.key.revoked/v1".to_owned();
            let prefix = named;
            json(StatusCode::OK, &KeyRevoked { schema, prefix })
        }
        "invites" => {
            let asked = backend.revoke_invite(&named);
            let invite = shared.ask("admissions", asked).await?;
            let schema = "troop.invite.revoked/v1".to_owned();
            json(StatusCode::OK, &InviteRevoked { schema, invite })
        }
        _ => {
            let asked = backend.remove_member(&named);
            let member = shared.ask("admissions", asked).await?;
            let schema = "troop.member.removed/v1".to_owned();
            json(StatusCode::OK, &MemberRemoved { schema, member })
        }
    })
}

fn paused(paused: bool) -> Paused {
    let schema = "troop.pause/v1".to_owned();
    Paused { schema, paused }
}

async fn status(shared: &Arc<Shared>) -> Status {
    let checks = health::checks(shared).await;
    let models = shared.ask("scheduler", shared.backend.models()).await;
    let queue = shared.ask("scheduler", shared.backend.queue()).await;
    let worker = shared.ask("engine keeper", shared.backend.worker()).await;
    let coordinator = shared.ask("membership", shared.backend.coordinator()).await;
    let nodes = shared.ask("membership", shared.backend.nodes()).await;
    let peers = nodes.unwrap_or_default().into_iter();
    Status {
        schema: "troop.status/v1".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: shared.me.to_string(),
        owner: shared.owner.to_string(),
        uptime_seconds: shared.clock.now().since_ms(shared.started) / 1000,
        listening: shared.listening.iter().map(ToString::to_string).collect(),
        draining: *shared.phase.borrow() != Phase::Open,
        ready: checks.iter().all(|check| check.ok),
        checks: checks
            .into_iter()
            .map(|check| CheckLine {
                name: check.name.to_owned(),
                ok: check.ok,
                detail: check.detail,
            })
            .collect(),
        models: models
            .unwrap_or_default()
            .into_iter()
            .map(|model| ModelLine {
                name: model.name,
                digest: format!("sha256:{}", model.passport),
                context: model.context,
            })
            .collect(),
        requests_open: shared.open().len(),
        queue: queue.ok(),
        worker: worker.ok().flatten(),
        coordinator: coordinator.ok().flatten(),
        peers: peers.filter(|node| node.address.is_some()).collect(),
    }
}

/// A parameter of the query, as it was meant.
fn parameter(request: &Request<Incoming>, name: &str) -> Result<Option<String>, Problem> {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .filter_map(|part| part.split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| crate::route::percent_decoded(value))
        .transpose()
}

async fn read<T: DeserializeOwned>(
    request: Request<Incoming>,
    shared: &Arc<Shared>,
) -> Result<T, Problem> {
    let whole = request_body::read(request, &shared.limits, &shared.bodies).await?;
    let mut deserializer = serde_json::Deserializer::from_slice(&whole.bytes);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let problem = Problem::body(crate::text::plain(&error.inner().to_string()));
        if path == "." {
            problem
        } else {
            problem.about(path)
        }
    })
}
