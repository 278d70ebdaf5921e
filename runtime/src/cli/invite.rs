//! `invite`, `member` and `leave`: who belongs to the troop.

use super::fault::{Code, Fault};
use super::{Context, client, print, print_json, spans, table};
use crate::enrolment::{Enrolment, EnrolmentError};
use crate::home::HomeError;
use clap::{Args, Subcommand, ValueEnum};
use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;
use troop_actors::admissions::{TTL_MS_MAX, USES_MAX};
use troop_actors::invitation::{ADDRESSES_MAX, Invitation};
use troop_gateway::control::{
    InviteCreated, InviteRevoked, InviteWanted, Invites, MemberRemoved, Members,
};

/// Arguments of `invite`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub(super) struct InviteArgs {
    #[command(subcommand)]
    verb: Option<InviteVerb>,
    #[command(flatten)]
    terms: TermsArgs,
}

#[derive(Debug, Subcommand)]
enum InviteVerb {
    /// List invitations, spent ones for a week
    List,
    /// Take back the invitation whose id begins so
    Revoke {
        /// The beginning of its id
        id: String,
    },
}

#[derive(Debug, Args)]
struct TermsArgs {
    /// What whoever comes may be
    #[arg(long, value_enum, default_value = "both")]
    role: InviteRole,
    /// How many machines may come, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(USES_MAX)))]
    uses: u32,
    /// How long it is good, as in 10m, 24h or 7d; at most 30d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = life)]
    ttl: Duration,
    /// What the machine is called in the troop [default: what it calls itself]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Whose the machine is: owner for another of your own [default: a new member's]
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// Whole credits that a new member begins with [default: 100]
    #[arg(long, value_name = "N")]
    credits: Option<u64>,
    /// Where this node can be reached by others [default: where it listens]; repeatable
    #[arg(long = "address", value_name = "IP:PORT")]
    addresses: Vec<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InviteRole {
    /// Asks the troop's workers
    Client,
    /// Serves models to the troop
    Worker,
    /// Either, as the machine can
    Both,
}

impl InviteRole {
    fn word(self) -> &'static str {
        match self {
            InviteRole::Client => "client",
            InviteRole::Worker => "worker",
            InviteRole::Both => "client+worker",
        }
    }
}

fn life(text: &str) -> Result<Duration, String> {
    spans::up_to(text, TTL_MS_MAX, "30 days")
}

pub(super) fn go(context: &Context, args: InviteArgs) -> Result<(), Fault> {
    match args.verb {
        None => invite(context, args.terms),
        Some(InviteVerb::List) => list(context),
        Some(InviteVerb::Revoke { id }) => {
            let path = format!("/v1/troop/invites/{}", client::encoded(&id));
            let revoked: InviteRevoked = client::delete(context, &path)?;
            if context.json {
                return print_json(&revoked);
            }
            context.say(format_args!("Revoked {}", revoked.invite.id));
            Ok(())
        }
    }
}

fn invite(context: &Context, terms: TermsArgs) -> Result<(), Fault> {
    if terms.addresses.len() > ADDRESSES_MAX {
        let message = format!("--address: at most {ADDRESSES_MAX} of them");
        return Err(Fault::usage(message));
    }
    let wanted = InviteWanted {
        role: Some(terms.role.word().to_owned()),
        uses: Some(terms.uses),
        ttl_seconds: Some(terms.ttl.as_secs().max(1)),
        name: terms.name,
        member: terms.member,
        credits: terms.credits,
        addresses: terms.addresses.iter().map(ToString::to_string).collect(),
    };
    let created: InviteCreated = client::post(context, "/v1/troop/invites", &wanted)?;
    if context.json {
        return print_json(&created);
    }
    let made = &created.made;
    let uses = match made.invite.uses_max {
        1 => "1 use".to_owned(),
        uses => format!("{uses} uses"),
    };
    let role = made.invite.role.replace('+', " or ");
    let ttl = table::span(terms.ttl.as_secs());
    context.say(format_args!(
        "Run this on the other machine (valid {ttl}, {uses}, joins as {role}):"
    ));
    print(format_args!("    troop up --join {}", made.token))?;
    if made.only_here {
        let addresses = made.addresses.join(", ");
        context.say(format_args!(
            "warning: {addresses} can be reached from this machine alone; \
             troop invite --address IP:PORT names another"
        ));
    }
    Ok(())
}

fn list(context: &Context) -> Result<(), Fault> {
    let invites: Invites = client::get(context, "/v1/troop/invites")?;
    if context.json {
        return print_json(&invites);
    }
    let rows = invites.invites.iter().map(|invite| {
        let name = invite.name.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            invite.id.clone(),
            invite.state.clone(),
            invite.role.clone(),
            format!("{}/{}", invite.used, invite.uses_max),
            name,
            table::ago(invite.created_seconds),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let header = ["ID", "STATE", "ROLE", "USED", "NAME", "MADE"];
    table::show(context, &header, &rows)
}

/// A token, or the file that holds it: `file:PATH` keeps it out of the lists of what runs.
pub(super) fn token(text: &str) -> Result<Invitation, String> {
    let read = |path: &str| -> std::io::Result<String> {
        let mut text = String::new();
        let file = std::fs::File::open(path)?;
        file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    let kept = match text.strip_prefix("file:") {
        Some(path) => read(path).map_err(|error| format!("{path}: {error}"))?,
        None => text.to_owned(),
    };
    let invitation = kept.trim().parse::<Invitation>();
    invitation.map_err(|error| error.to_string())
}

/// Arguments of `member`.
#[derive(Debug, Args)]
pub(super) struct MemberArgs {
    #[command(subcommand)]
    verb: MemberVerb,
}

#[derive(Debug, Subcommand)]
enum MemberVerb {
    /// List the nodes that were let in
    List,
    /// Put a node out for good; what it earned stays its member's
    Remove {
        /// Its name, or the beginning of its id
        node: String,
    },
}

pub(super) fn member(context: &Context, args: MemberArgs) -> Result<(), Fault> {
    match args.verb {
        MemberVerb::List => {
            let members: Members = client::get(context, "/v1/troop/members")?;
            if context.json {
                return print_json(&members);
            }
            let rows = members.members.iter().map(|member| {
                vec![
                    member.name.clone(),
                    member.node[..12].to_owned(),
                    member.role.clone(),
                    member.member[..12].to_owned(),
                    table::ago(member.joined_seconds),
                ]
            });
            let rows: Vec<_> = rows.collect();
            table::show(
                context,
                &["NAME", "NODE", "ROLE", "MEMBER", "JOINED"],
                &rows,
            )?;
        }
        MemberVerb::Remove { node } => {
            let path = format!("/v1/troop/members/{}", client::encoded(&node));
            let removed: MemberRemoved = client::delete(context, &path)?;
            if context.json {
                return print_json(&removed);
            }
            context.say(format_args!("Removed {}", removed.member.name));
        }
    }
    Ok(())
}

/// Forgets the troop this node belongs to.
pub(super) fn leave(context: &Context) -> Result<(), Fault> {
    // A node that runs would go on as if nothing had happened.
    let _lock = match context.home.folder().exists() {
        true => Some(context.home.lock().map_err(|error| {
            match error {
                HomeError::Taken { .. } => Fault::failed("the node is running")
                    .because(error)
                    .hint("stop it, then troop leave"),
                other => other.into(),
            }
        })?),
        false => None,
    };
    let left = Enrolment::forget(&context.home)?;
    if context.json {
        return print_json(&serde_json::json!({ "schema": "troop.leave/v1", "left": left }));
    }
    match left {
        true => context.say("Left the troop; what was earned there stays in its books"),
        false => context.say("This node belongs to no troop"),
    }
    Ok(())
}

impl From<EnrolmentError> for Fault {
    fn from(error: EnrolmentError) -> Fault {
        match error {
            EnrolmentError::Home(error) => error.into(),
            malformed => Fault::new(Code::Integrity, malformed).hint("troop leave"),
        }
    }
}

/// Bytes of a file with a token that are read, at most.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;
const AFTER_HELP: &str = "\
Examples:
  troop invite                          one machine, client or worker, within a day
  troop invite --member owner           another machine of your own: its work is free to you
  troop invite --role client --uses 5   five friends who only ask
  troop invite list
  troop member remove bo-desktop";
