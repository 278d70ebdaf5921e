//! How header and claims are spelled. Each is written and read in one order; reading walks that order, so
//! a member that is unknown, missing, out of place or of another type is refused by name.

use super::json::{self, Value};
use super::{Claims, TicketError, key_name};
use crate::ids::{NodeId, TicketKey};
use std::fmt::Write as _;
use std::str::FromStr;

/// The header of every ticket that `key` signs.
pub(super) fn header(key: TicketKey) -> String {
    let kid = key_name(key);
    format!(r#"{{"alg":"{ALGORITHM}","typ":"{KIND}","kid":"{kid}"}}"#)
}

/// The name of the key that signed the ticket whose header `bytes` are, by its own account.
pub(super) fn key_of(bytes: &[u8]) -> Result<&str, TicketError> {
    let mut members = Members::read("header", bytes)?;
    if members.text("alg")? != ALGORITHM {
        return Err(TicketError::Algorithm);
    }
    if members.text("typ")? != KIND {
        return Err(TicketError::Kind);
    }
    let kid = members.text("kid")?;
    members.end()?;
    Ok(kid)
}

/// The claims as they are signed.
pub(super) fn write(claims: &Claims) -> String {
    let mut text = String::with_capacity(900);
    write!(
        text,
        concat!(
            r#"{{"iss":"{}","sub":"{}","aud":"{}","cnf":{{"kid":"{}"}},"iat":{},"ims":{},"nbf":{},"exp":{},"#,
            r#""jti":"{}","hold":"{}","req":"{}","att":{},"mdl":"{}","cls":"{}","mxi":{},"mxo":{},"prc":"{}","#,
            r#""cap":{},"dl":{},"ep":{},"scp":"{}"}}"#
        ),
        claims.issuer,
        claims.payer,
        claims.worker,
        claims.client,
        claims.issued_at,
        claims.issued_ms,
        claims.issued_at,
        claims.expires_at,
        claims.attempt,
        claims.hold,
        claims.request,
        claims.number,
        claims.model,
        claims.class,
        claims.prompt_bytes_max,
        claims.completion_tokens_max,
        claims.prices,
        claims.cost_max,
        claims.stream_seconds_max,
        claims.epoch,
        SCOPE,
    )
    .expect("writing to a string cannot fail");
    text
}

/// The claims that `bytes` spell.
pub(super) fn read(bytes: &[u8]) -> Result<Claims, TicketError> {
    let mut members = Members::read("claims", bytes)?;
    let not_before;
    let claims = Claims {
        issuer: members.id("iss")?,
        payer: members.id("sub")?,
        worker: members.id("aud")?,
        client: members.confirmation()?,
        issued_at: members.number("iat")?,
        issued_ms: members.number("ims")?,
        expires_at: {
            not_before = members.number("nbf")?;
            members.number("exp")?
        },
        attempt: members.id("jti")?,
        hold: members.id("hold")?,
        request: members.id("req")?,
        number: members
            .number("att")?
            .try_into()
            .map_err(|_| wrong_type("att", "a 32-bit integer"))?,
        model: members.id("mdl")?,
        class: members.id("cls")?,
        prompt_bytes_max: members.number("mxi")?,
        completion_tokens_max: members.number("mxo")?,
        prices: members.id("prc")?,
        cost_max: members.number("cap")?,
        stream_seconds_max: members.number("dl")?,
        epoch: members.number("ep")?,
    };
    if members.text("scp")? != SCOPE {
        return Err(TicketError::Scope);
    }
    if not_before != claims.issued_at {
        return Err(TicketError::Lifetime);
    }
    members.end()?;
    Ok(claims)
}

/// The members of an object, taken one by one from the front.
struct Members<'a> {
    rest: std::vec::IntoIter<(&'a str, Value<'a>)>,
}

impl<'a> Members<'a> {
    fn read(part: &str, bytes: &'a [u8]) -> Result<Members<'a>, TicketError> {
        let members = json::read(bytes).map_err(|(at, fault)| TicketError::Json {
            part: part.into(),
            at: at as u32,
            fault,
        })?;
        Ok(Members {
            rest: members.into_iter(),
        })
    }

    fn take(&mut self, member: &str) -> Result<Value<'a>, TicketError> {
        match self.rest.next() {
            Some((name, value)) if name == member => Ok(value),
            // The name that is wanted comes later: what is here instead has no place here.
            Some((name, _))
                if self
                    .rest
                    .as_slice()
                    .iter()
                    .any(|(later, _)| *later == member) =>
            {
                Err(unexpected(name))
            }
            _ => Err(TicketError::Missing {
                member: member.into(),
            }),
        }
    }

    fn text(&mut self, member: &str) -> Result<&'a str, TicketError> {
        match self.take(member)? {
            Value::Text(text) => Ok(text),
            _ => Err(wrong_type(member, "a string")),
        }
    }

    fn number(&mut self, member: &str) -> Result<u64, TicketError> {
        match self.take(member)? {
            Value::Number(number) => Ok(number),
            _ => Err(wrong_type(member, "an integer")),
        }
    }

    /// An id in lower-case hex: its one spelling.
    fn id<T: FromStr>(&mut self, member: &str) -> Result<T, TicketError> {
        let text = self.text(member)?;
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match text.parse() {
            Ok(id) if lower => Ok(id),
            _ => Err(wrong_type(member, "an id in lower-case hex")),
        }
    }

    /// `cnf`, an object of `kid` alone (RFC 7800).
    fn confirmation(&mut self) -> Result<NodeId, TicketError> {
        let Value::Object(inner) = self.take("cnf")? else {
            return Err(wrong_type("cnf", "an object"));
        };
        let mut inner = Members {
            rest: inner.into_iter(),
        };
        let client = inner.id("kid")?;
        inner.end()?;
        Ok(client)
    }

    fn end(&mut self) -> Result<(), TicketError> {
        match self.rest.next() {
            Some((name, _)) => Err(unexpected(name)),
            None => Ok(()),
        }
    }
}

fn unexpected(name: &str) -> TicketError {
    TicketError::Unexpected {
        member: name.chars().take(32).collect(),
    }
}

fn wrong_type(member: &str, wanted: &str) -> TicketError {
    TicketError::Type {
        member: member.into(),
        wanted: wanted.into(),
    }
}

const ALGORITHM: &str = "EdDSA";
const KIND: &str = "troop-ticket+jwt";
const SCOPE: &str = "chat";
