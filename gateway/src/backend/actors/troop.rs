//! The troop: whom this coordinator invites, and who belongs.

use super::Actors;
use super::members::{micros, named};
use crate::control;
use crate::problem::Problem;
use crate::text::{plain, shown};
use hyper::StatusCode;
use std::net::SocketAddr;
use troop_actors::admissions::{
    AdmissionError, AdmissionsHandle, InviteRecord, MemberRecord, Terms,
};
use troop_actors::certificate::RoleSet;
use troop_actors::contract::Time;
use troop_actors::ids::MemberId;
use troop_actors::invitation::{self, Invitation};
use troop_actors::keyring::OWNER;
use troop_actors::ticket::key_name;
use troop_actors::ticket_issuer::{Keys, RotateError, TicketIssuerHandle};

impl Actors {
    /// An invitation on paper.
    pub(super) async fn make_invite(
        &self,
        wanted: control::InviteWanted,
    ) -> Result<control::InviteMade, Problem> {
        let admissions = self.admissions()?;
        let addresses = self.addresses(&wanted.addresses)?;
        let role = wanted.role.as_deref().unwrap_or(ROLE);
        let ttl_seconds = wanted.ttl_seconds.unwrap_or(TTL_SECONDS);
        let credits = wanted.credits.unwrap_or(control::CREDITS_DEFAULT);
        let member = match wanted.member.as_deref() {
            Some(asked) => Some(self.member_called(asked).await?),
            None => None,
        };
        let terms = Terms {
            roles: role
                .parse::<RoleSet>()
                .map_err(|error| Problem::field("role", format!("role: {error}")))?,
            uses_max: wanted.uses.unwrap_or(1),
            ttl_ms: ttl_seconds.saturating_mul(1000),
            name: wanted.name.unwrap_or_default(),
            member,
            credits: micros(credits)?,
            inviter: self.owner,
        };
        let made = admissions.invite(terms).await;
        let (secret, record) = made.map_err(|error| problem(&error))?;
        let token = Invitation {
            coordinator: self.node.wiring.me,
            addresses: addresses.clone(),
            secret,
        };
        Ok(control::InviteMade {
            token: token.to_string(),
            only_here: addresses.iter().all(|address| address.ip().is_loopback()),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            invite: self.invite_line(&record),
        })
    }

    pub(super) async fn list_invites(&self) -> Result<Vec<control::Invite>, Problem> {
        let invites = self.admissions()?.invites().await;
        let invites = invites.map_err(|error| problem(&error))?;
        Ok(invites.iter().map(|one| self.invite_line(one)).collect())
    }

    pub(super) async fn take_back(&self, prefix: &str) -> Result<control::Invite, Problem> {
        let revoked = self.admissions()?.revoke(prefix).await;
        let revoked = revoked.map_err(|error| problem(&error))?;
        Ok(self.invite_line(&revoked))
    }

    pub(super) async fn list_members(&self) -> Result<Vec<control::Member>, Problem> {
        let members = self.admissions()?.members().await;
        let members = members.map_err(|error| problem(&error))?;
        Ok(members.iter().map(member_line).collect())
    }

    pub(super) async fn put_out(&self, pick: &str) -> Result<control::Member, Problem> {
        let removed = self.admissions()?.remove(pick).await;
        let removed = removed.map_err(|error| problem(&error))?;
        Ok(member_line(&removed))
    }

    /// The next key signs tickets from now on.
    pub(super) async fn rotate_keys(
        &self,
        wanted: control::RotateWanted,
    ) -> Result<control::TicketKeys, Problem> {
        self.must_coordinate()?;
        let issuer = TicketIssuerHandle::new(self.node.clone());
        let rotated = issuer.rotate(wanted.revoke).await;
        let Keys { keys, epoch } = rotated.map_err(|error| rotate_problem(&error))?;
        Ok(control::TicketKeys {
            current: key_name(keys.current),
            next: key_name(keys.next),
            previous: keys.previous.map(key_name),
            since_seconds: keys.since.seconds(),
            epoch,
        })
    }

    fn admissions(&self) -> Result<AdmissionsHandle, Problem> {
        self.must_coordinate()?;
        Ok(AdmissionsHandle::new(self.node.clone()))
    }

    /// The addresses for an invitation: those that were given, or those this node knows of itself.
    fn addresses(&self, given: &[String]) -> Result<Vec<SocketAddr>, Problem> {
        let addresses = match given {
            [] => (self.reached_at)(),
            given => {
                let read = |text: &String| {
                    text.parse().map_err(|_| {
                        let message =
                            format!("addresses: {} is not an IP address and a port", shown(text));
                        Problem::field("addresses", message)
                    })
                };
                given.iter().map(read).collect::<Result<_, _>>()?
            }
        };
        if addresses.is_empty() {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "no_address",
                "addresses: this node does not listen for other nodes; say where it can be reached",
            )
            .about("addresses"));
        }
        match invitation::lawful(&addresses) {
            true => Ok(addresses),
            false => {
                let limit = invitation::ADDRESSES_MAX;
                let message = format!("addresses: 1 to {limit}, each with a port that is not 0");
                Err(Problem::field("addresses", message))
            }
        }
    }

    async fn member_called(&self, asked: &str) -> Result<MemberId, Problem> {
        if asked == OWNER {
            return Ok(self.owner);
        }
        Ok(named(&self.accounts_and_keys().await?, asked)?.0)
    }

    fn invite_line(&self, record: &InviteRecord) -> control::Invite {
        let now = self.node.clock.now();
        control::Invite {
            id: record.hash.to_string()[..ID_DIGITS].to_owned(),
            state: state(record, now).to_owned(),
            role: record.terms.roles.to_string(),
            uses_max: record.terms.uses_max,
            used: record.used,
            name: Some(record.terms.name.clone()).filter(|name| !name.is_empty()),
            member: record.terms.member.map(|member| member.to_string()),
            credits_micros: record.terms.credits,
            created_seconds: record.created.seconds(),
            expires_seconds: record.expires.seconds(),
        }
    }
}

fn state(record: &InviteRecord, now: Time) -> &'static str {
    match record {
        _ if record.revoked => "revoked",
        _ if record.used >= record.terms.uses_max => "used",
        _ if now >= record.expires => "expired",
        _ => "open",
    }
}

fn member_line(record: &MemberRecord) -> control::Member {
    let certificate = &record.certificate;
    control::Member {
        name: certificate.name.clone(),
        node: certificate.node.to_string(),
        member: certificate.member.to_string(),
        role: certificate.roles.to_string(),
        inviter: certificate.inviter.to_string(),
        invite: record.invitation.to_string()[..ID_DIGITS].to_owned(),
        joined_seconds: record.joined.seconds(),
        expires_seconds: certificate.expires.seconds(),
    }
}

fn rotate_problem(error: &RotateError) -> Problem {
    let message = plain(&error.to_string());
    match error {
        RotateError::Soon { .. } | RotateError::Busy => {
            Problem::new(StatusCode::CONFLICT, "too_soon", message)
        }
        RotateError::Away | RotateError::Unwritten { .. } => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).after(1000)
        }
    }
}

fn problem(error: &AdmissionError) -> Problem {
    let message = plain(&error.to_string());
    let conflict = |code| Problem::new(StatusCode::CONFLICT, code, message.clone());
    let absent = |code| Problem::new(StatusCode::NOT_FOUND, code, message.clone());
    match error {
        AdmissionError::Refused(_) => conflict("refused"),
        AdmissionError::NoInvite { .. } => absent("invite_not_found"),
        AdmissionError::NoMember { .. } => absent("member_not_found"),
        AdmissionError::Ambiguous { .. } => conflict("ambiguous"),
        AdmissionError::Full { .. } => conflict("invites_full"),
        AdmissionError::Uses { .. } => Problem::field("uses", message),
        AdmissionError::Ttl { .. } => Problem::field("ttl_seconds", message),
        AdmissionError::Roles => Problem::field("role", message),
        AdmissionError::Name(_) | AdmissionError::Names { .. } => Problem::field("name", message),
        AdmissionError::Busy | AdmissionError::Away | AdmissionError::Unwritten { .. } => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).after(1000)
        }
    }
}

/// What an invitation is for where nothing is said: the machine itself knows whether it can serve.
const ROLE: &str = "client+worker";
/// How long it is good where nothing is said.
const TTL_SECONDS: u64 = 24 * 3600;
/// Digits of an invitation's id that are shown.
const ID_DIGITS: usize = 12;
