//! Every decision of troop, each made by a pure core and carried by a supervised actor.
//!
//! A request's road through this crate, station by station:
//!
//! ```text
//! Session ─Admit─> Scheduler ─Hold─> Ledger ─Held─> Scheduler ─Issue─> TicketIssuer ─Granted─> Session
//! Session ─Knock(ticket, work)─> Doorkeeper ─Start─> EngineProcess ═frames═> Engine (a child process)
//! Session <═tokens with positions═ EngineProcess          Session ─receipt─> Outbox ─Settle─> Ledger
//! Session ─vouchers─> EngineProcess ─what its client left unpaid─> Outbox ─Claim─> Ledger
//! ```
//!
//! What the stations share comes first: the [`contract`] between core and shell, [`ids`], the words they
//! exchange ([`generate`], [`ticket`], [`receipt`], [`price`]), the one wiring ([`routing`]), what may cross
//! between nodes ([`letters`], [`border`], [`questions`]), the leaf [`ports`], and the [`shell`] that every
//! actor sits in. Then one file per actor; the folder of the same
//! name holds its core. A core never names another core: it emits effects, and `routing` says whose input
//! an effect becomes. The simulator uses the same cores, the same routing and the same storage code.

pub mod border;
pub mod certificate;
pub mod contract;
pub mod generate;
pub mod ids;
pub mod invitation;
pub mod letters;
pub mod names;
pub mod peers;
pub mod planted;
pub mod ports;
pub mod price;
pub mod questions;
pub mod receipt;
pub mod routing;
pub mod shelf;
pub mod shell;
pub mod store;
pub mod text;
pub mod ticket;
pub mod wire;

pub mod admissions;
pub mod doorkeeper;
pub mod engine;
pub mod engine_process;
pub mod gpu_monitor;
pub mod keyring;
pub mod ledger;
pub mod membership;
pub mod model_store;
pub mod outbox;
pub mod scheduler;
pub mod session;
pub mod ticket_issuer;
