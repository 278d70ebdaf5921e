//! The troop this node belongs to: what its folder keeps of it, and how it gets in.
//!
//! ```text
//! troop up --join TOKEN
//!   reads the token       -> who invites, where, and the secret
//!   dials exactly that key -> nobody else can be at the other end
//!   Join{secret, roles}   -> Joined{certificate}
//!   checks the certificate -> membership.json
//! ```
//!
//! A node belongs to one troop at a time. Joining the same one again asks nothing while what is kept is good, so the
//! command may stand in a service file. This file opens no connection: whoever calls says how to ask.

use crate::home::{Home, HomeError, disk};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use troop_actors::admissions::JoinRefusal;
use troop_actors::certificate::{Certificate, CertificateError, RoleSet};
use troop_actors::contract::Time;
use troop_actors::ids::NodeId;
use troop_actors::invitation::{self, Invitation};
use troop_actors::ports::Clock;
use troop_actors::questions::{Answer, Question, RemoteError};

/// A troop, and what shows that this node belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The coordinator that signs for the troop.
    pub troop: NodeId,
    /// Where it was reached, the likeliest first.
    pub addresses: Vec<SocketAddr>,
    /// This node's certificate, signed.
    pub certificate: Vec<u8>,
}

/// What a joiner says of itself.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Its key.
    pub me: NodeId,
    /// What it wants to be.
    pub roles: RoleSet,
    /// What it calls itself.
    pub name: String,
}

/// The enrolment cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// The folder failed.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The file is not one of ours.
    #[error("{path}: {message}; troop leave forgets it", path = path.display())]
    Malformed {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// The node has not joined. Nothing was kept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// It belongs elsewhere.
    #[error("this node belongs to the troop of {troop} already; troop leave forgets it")]
    Another {
        /// Where.
        troop: NodeId,
    },
    /// The coordinator will not have it.
    #[error(transparent)]
    Refused(#[from] JoinRefusal),
    /// There was no answer.
    #[error(transparent)]
    Unanswered(#[from] RemoteError),
    /// What the coordinator gave is not good.
    #[error("the coordinator's answer is not good: {0}")]
    Certificate(#[from] CertificateError),
    /// The coordinator gave other roles than were asked for.
    #[error("the coordinator's answer is not good: it is for {given}, not for {wanted}")]
    Roles {
        /// What it is for.
        given: RoleSet,
        /// What was asked for.
        wanted: RoleSet,
    },
    /// The coordinator answered another question.
    #[error("the coordinator's answer is not good: it is to another question")]
    Answer,
}

/// The file's form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    schema: String,
    troop: String,
    addresses: Vec<SocketAddr>,
    certificate: String,
}

impl Enrolment {
    /// What the folder holds, if the node belongs anywhere.
    pub fn load(home: &Home) -> Result<Option<Enrolment>, EnrolmentError> {
        let path = home.path(FILE);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| {
            let file = file.take(FILE_BYTES_MAX + 1);
            { file }.read_to_end(&mut bytes)
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(disk(&path))?,
        };
        let malformed = |message: String| EnrolmentError::Malformed {
            path: path.clone(),
            message,
        };
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(malformed(format!("more than {FILE_BYTES_MAX} bytes")));
        }
        let kept: Kept =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if kept.schema != SCHEMA {
            return Err(malformed(format!("schema: it is not {SCHEMA}")));
        }
        if !invitation::lawful(&kept.addresses) {
            return Err(malformed("addresses: they are no places to reach".into()));
        }
        let troop = kept.troop.parse();
        let certificate = STANDARD.decode(&kept.certificate);
        Ok(Some(Enrolment {
            troop: troop.map_err(|error| malformed(format!("troop: {error}")))?,
            addresses: kept.addresses,
            certificate: certificate.map_err(|error| malformed(format!("certificate: {error}")))?,
        }))
    }

    /// Keeps it in the folder, whole or not at all.
    pub fn save(&self, home: &Home) -> Result<(), EnrolmentError> {
        let kept = Kept {
            schema: SCHEMA.to_owned(),
            troop: self.troop.to_string(),
            addresses: self.addresses.clone(),
            certificate: STANDARD.encode(&self.certificate),
        };
        let bytes = serde_json::to_vec_pretty(&kept).expect("text and addresses are JSON");
        Ok(home.keep(FILE, &bytes)?)
    }

    /// Forgets the troop; false if there was none to forget.
    pub fn forget(home: &Home) -> Result<bool, EnrolmentError> {
        let path = home.path(FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => {
                removed.map_err(disk(&path))?;
                home.settle()?;
                Ok(true)
            }
        }
    }

    /// What the troop says of this node, if it is good at `now`.
    pub fn verify(&self, me: NodeId, now: Time) -> Result<Certificate, CertificateError> {
        Certificate::verify(&self.certificate, self.troop, me, now)
    }
}

/// Joins the troop that `invitation` is of. `ask` puts a question to the node of exactly the key
/// `invitation.coordinator`, and to nobody else: the secret goes with it.
pub async fn join(
    invitation: &Invitation,
    present: Option<Enrolment>,
    wish: &Wish,
    now: Time,
    ask: impl AsyncFnOnce(Question) -> Result<Answer, RemoteError>,
) -> Result<Enrolment, JoinError> {
    let troop = invitation.coordinator;
    if let Some(present) = present {
        if present.troop != troop {
            let troop = present.troop;
            return Err(JoinError::Another { troop });
        }
        let good = present.verify(wish.me, now);
        if good.is_ok_and(|certificate| wish.roles.within(certificate.roles)) {
            // The invitation may know better where the coordinator is now.
            let addresses = invitation.addresses.clone();
            return Ok(Enrolment {
                addresses,
                ..present
            });
        }
    }
    let question = Question::Join {
        secret: invitation.secret,
        roles: wish.roles,
        name: wish.name.clone(),
    };
    let certificate = certificate_of(ask(question).await?)?;
    let enrolment = Enrolment {
        troop,
        addresses: invitation.addresses.clone(),
        certificate,
    };
    let given = enrolment.verify(wish.me, now)?.roles;
    match wish.roles.within(given) {
        true => Ok(enrolment),
        false => Err(JoinError::Roles {
            given,
            wanted: wish.roles,
        }),
    }
}

/// The same enrolment with its next certificate, where it is time for one. `ask` puts a question to the
/// coordinator.
pub async fn renew(
    enrolment: &Enrolment,
    me: NodeId,
    now: Time,
    ask: impl AsyncFnOnce(Question) -> Result<Answer, RemoteError>,
) -> Result<Option<Enrolment>, JoinError> {
    let present = enrolment.verify(me, now)?;
    if now < present.renew_at() {
        return Ok(None);
    }
    let certificate = certificate_of(ask(Question::Renew).await?)?;
    let renewed = Enrolment {
        certificate,
        ..enrolment.clone()
    };
    let certificate = renewed.verify(me, now)?;
    Ok((certificate.expires > present.expires).then_some(renewed))
}

/// Keeps an enrolment good for as long as it is asked to: asks for the next certificate when it is time, and hands
/// it to `keep`. A coordinator that is away is asked again.
pub async fn keep_good(
    mut enrolment: Enrolment,
    me: NodeId,
    clock: Arc<dyn Clock>,
    ask: impl AsyncFn(Question) -> Result<Answer, RemoteError>,
    mut keep: impl FnMut(&Enrolment),
) {
    loop {
        let renewed = renew(&enrolment, me, clock.now(), &ask).await;
        match renewed {
            Ok(Some(renewed)) => {
                keep(&renewed);
                enrolment = renewed;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the certificate was not renewed"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn certificate_of(answer: Answer) -> Result<Vec<u8>, JoinError> {
    match answer {
        Answer::Joined { certificate } => Ok(certificate),
        Answer::JoinRefused { refusal } => Err(refusal.into()),
        _ => Err(JoinError::Answer),
    }
}

/// How often a node looks whether it is time: a third of a certificate's life is left then, which is days.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
const FILE: &str = "membership.json";
const SCHEMA: &str = "troop.membership/v1";
/// Bytes of the file, at most: it has fewer than a thousand.
const FILE_BYTES_MAX: u64 = 16 << 10;

#[cfg(test)]
mod tests;
