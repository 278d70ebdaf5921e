//! Every actor's name, in one place. ractor's registry is global to the process, so a name carries its node.

use crate::ids::{NodeId, RequestId};

/// The registered name of the actor `actor` on `node`, as in `1f3a9c02/ledger`.
pub fn actor(node: NodeId, actor: &str) -> String {
    let prefix: String = node.to_string().chars().take(8).collect();
    format!("{prefix}/{actor}")
}

/// The registered name of one request's session.
pub fn session(node: NodeId, request: RequestId) -> String {
    actor(node, &format!("session/{request}"))
}

/// The scheduler.
pub const SCHEDULER: &str = "scheduler";
/// The ledger.
pub const LEDGER: &str = "ledger";
/// The ticket issuer.
pub const TICKET_ISSUER: &str = "ticket_issuer";
/// The doorkeeper.
pub const DOORKEEPER: &str = "doorkeeper";
/// The keeper of engines.
pub const ENGINE_PROCESS: &str = "engine_process";
/// The monitor of the machine.
pub const GPU_MONITOR: &str = "gpu_monitor";
/// The outbox.
pub const OUTBOX: &str = "outbox";
/// The keyring.
pub const KEYRING: &str = "keyring";
/// The admissions.
pub const ADMISSIONS: &str = "admissions";
/// The membership.
pub const MEMBERSHIP: &str = "membership";
/// The gateway.
pub const GATEWAY: &str = "gateway";
/// A session, before its request's id.
pub const SESSION: &str = "session";
