//! Members: their accounts, their first credits and further ones, their keys.

use super::Actors;
use crate::control;
use crate::problem::Problem;
use crate::text::{nearest, plain, shown};
use hyper::StatusCode;
use std::collections::BTreeMap;
use troop_actors::ids::{MemberId, digest};
use troop_actors::keyring::{self, KeyError};
use troop_actors::ledger::Account;
use troop_actors::ledger::protocol::GrantError;
use troop_actors::price::{CREDIT, Micros};

impl Actors {
    /// One account: the owner's where no member is named.
    pub(super) async fn account_of(
        &self,
        member: Option<&str>,
    ) -> Result<control::Account, Problem> {
        let Some(asked) = member else {
            let account = self
                .ledger()
                .own(self.owner)
                .await
                .map_err(|_| Problem::unavailable("ledger"))?;
            return Ok(account_line(self.owner, &account));
        };
        let accounts = self.accounts_and_keys().await?;
        let (member, account) = named(&accounts, asked)?;
        Ok(account_line(member, account))
    }

    /// A key for a member; one who is new gets its first credits.
    pub(super) async fn make_key(
        &self,
        wanted: control::KeyWanted,
    ) -> Result<control::KeyMade, Problem> {
        self.must_coordinate()?;
        let name = wanted.member;
        keyring::check_name(&name).map_err(|error| key_problem(&error))?;
        // The credits first: a key without them would look like a broken promise, credits without a
        // key are simply there when the key is asked for again.
        let member = MemberId::of_name(self.node.wiring.coordinator, &name);
        self.welcome(member, &name, wanted.credits).await?;
        let made = self.keyring().create(&name).await;
        let (key, record) = made.map_err(|error| key_problem(&error))?;
        let account = self.account_by_id(member).await?;
        Ok(control::KeyMade {
            key,
            prefix: record.prefix,
            member: member.to_string(),
            name,
            available_micros: account.available(),
        })
    }

    /// Gives a new member its first credits. The grant's id follows from the member's, so it is made once
    /// whatever the amount; an amount that is asked for and not given is refused.
    async fn welcome(
        &self,
        member: MemberId,
        name: &str,
        credits: Option<u64>,
    ) -> Result<(), Problem> {
        let known = self.account_by_id(member).await?.granted > 0;
        let refused = || {
            let name = shown(name);
            let message = format!(
                "credits: {name} has had the first credits already; troop credit {name} N gives more"
            );
            Problem::new(StatusCode::CONFLICT, "member_known", message).about("credits")
        };
        match credits {
            Some(0) => Ok(()),
            Some(_) if known => Err(refused()),
            None if known => Ok(()),
            credits => {
                let amount = micros(credits.unwrap_or(control::CREDITS_DEFAULT))?;
                let id = grant_id("troop/grant/welcome/v1", &[&member.0]);
                match self.grant(id, member, name, amount).await? {
                    // Somebody else welcomes the same member at this very moment.
                    Err(GrantError::Different) if credits.is_some() => Err(refused()),
                    Ok(()) | Err(GrantError::Different) => Ok(()),
                    Err(error) => Err(Problem::field("credits", plain(&error.to_string()))),
                }
            }
        }
    }

    /// More credits for a member who has a key or an account.
    pub(super) async fn give(
        &self,
        wanted: control::CreditWanted,
    ) -> Result<control::Account, Problem> {
        self.must_coordinate()?;
        if wanted.credits == 0 {
            return Err(Problem::field("credits", "credits must be at least 1"));
        }
        if !(1..=ID_BYTES_MAX).contains(&wanted.id.len()) {
            return Err(Problem::field(
                "id",
                format!("id must have 1 to {ID_BYTES_MAX} bytes"),
            ));
        }
        let amount = micros(wanted.credits)?;
        let accounts = self.accounts_and_keys().await?;
        let (member, account) = named(&accounts, &wanted.member)?;
        let id = grant_id("troop/grant/more/v1", &[&member.0, wanted.id.as_bytes()]);
        match self.grant(id, member, &account.name, amount).await? {
            Ok(()) => Ok(account_line(member, &self.account_by_id(member).await?)),
            Err(GrantError::Different) => Err(Problem::new(
                StatusCode::CONFLICT,
                "id_used",
                "id: it stands for a gift of another amount already",
            )
            .about("id")),
            Err(error) => Err(Problem::field("credits", plain(&error.to_string()))),
        }
    }

    /// Every member: who has an account, and who has only a key so far.
    pub(super) async fn accounts_and_keys(&self) -> Result<BTreeMap<MemberId, Account>, Problem> {
        let accounts = self.ledger().accounts().await;
        let mut members = accounts.map_err(|_| Problem::unavailable("ledger"))?;
        let keys = self.keyring().list().await;
        for key in keys.map_err(|error| key_problem(&error))? {
            members.entry(key.member).or_insert_with(|| Account {
                name: key.name,
                ..Account::default()
            });
        }
        Ok(members)
    }

    async fn account_by_id(&self, member: MemberId) -> Result<Account, Problem> {
        let account = self.ledger().account(member).await;
        account.map_err(|_| Problem::unavailable("ledger"))
    }

    async fn grant(
        &self,
        id: [u8; 16],
        member: MemberId,
        name: &str,
        amount: Micros,
    ) -> Result<Result<(), GrantError>, Problem> {
        match self.ledger().grant(id, member, name, amount).await {
            Ok(Err(GrantError::Unwritten)) | Err(_) => Err(Problem::unavailable("ledger")),
            Ok(outcome) => Ok(outcome),
        }
    }
}

/// The one among `members` that is called so, or has this id.
pub(super) fn named<'a>(
    members: &'a BTreeMap<MemberId, Account>,
    asked: &str,
) -> Result<(MemberId, &'a Account), Problem> {
    let by_id = members
        .iter()
        .filter(|(member, _)| member.to_string() == asked);
    let by_name = members.iter().filter(|(_, account)| account.name == asked);
    // A guest with a key and a machine that joined may be called the same; an id means one of them.
    let found: Vec<_> = by_id.chain(by_name).collect();
    if found.len() > 1 {
        let message = format!(
            "{} members are called {}; say which by id, as troop balance --all lists them",
            found.len(),
            shown(asked)
        );
        return Err(
            Problem::new(StatusCode::CONFLICT, "member_ambiguous", message).about("member"),
        );
    }
    let names = || members.values().map(|account| account.name.as_str());
    found
        .first()
        .map(|(member, account)| (**member, *account))
        .ok_or_else(|| {
            let hint = nearest(asked, names().filter(|name| !name.is_empty()))
                .map(|near| format!("; did you mean {}?", shown(near)));
            let hint = hint.unwrap_or_default();
            let message = format!("there is no member {}{hint}", shown(asked));
            Problem::new(StatusCode::NOT_FOUND, "member_not_found", message).about("member")
        })
}

/// Whole credits in microcredits.
pub(super) fn micros(credits: u64) -> Result<Micros, Problem> {
    credits.checked_mul(CREDIT).ok_or_else(|| {
        let most = u64::MAX / CREDIT;
        Problem::field("credits", format!("credits must be at most {most}"))
    })
}

fn grant_id(domain: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&digest(domain, parts).0[..16]);
    id
}

pub(super) fn account_line(member: MemberId, account: &Account) -> control::Account {
    control::Account {
        member: member.to_string(),
        name: account.name.clone(),
        granted_micros: account.granted,
        earned_micros: account.earned,
        spent_micros: account.spent,
        held_micros: account.held,
        available_micros: account.available(),
    }
}

pub(super) fn key_problem(error: &KeyError) -> Problem {
    let message = plain(&error.to_string());
    match error {
        KeyError::Unknown { .. } => Problem::new(StatusCode::NOT_FOUND, "key_not_found", message),
        KeyError::Ambiguous { .. } => Problem::new(StatusCode::CONFLICT, "key_ambiguous", message),
        KeyError::Full { .. } => Problem::new(StatusCode::CONFLICT, "keys_full", message),
        KeyError::Name { .. } | KeyError::Owner => {
            Problem::new(StatusCode::BAD_REQUEST, "name_invalid", message).about("member")
        }
        KeyError::Unwritten { .. } | KeyError::Busy | KeyError::Away => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).after(1000)
        }
    }
}

/// Bytes of a gift's id, at most.
const ID_BYTES_MAX: usize = 64;
