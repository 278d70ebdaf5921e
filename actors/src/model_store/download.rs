//! A leaf: carries out what `transfer.rs` decides, and knows what a hub is asked.

use super::address::Address;
use super::error::PullError;
use super::files::room;
use super::hub;
use super::means::{Means, Token};
use super::partial::Partial;
use super::progress::{Phase, Report, tell};
use super::source::Repository;
use super::transfer::{Begun, Next, Stop, Transfer, Wanted, check};
use super::web::{Reply, Web};

/// A file on the web, and all that is known of it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) address: Address,
    pub(super) token: Option<Token>,
    pub(super) sha256: Option<String>,
    pub(super) size: Option<u64>,
    /// The mark of the file that is here already.
    pub(super) here: Option<String>,
}

/// What a download came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// All of it, verified, in the partial file.
    Whole {
        sha256: String,
        size: u64,
        mark: Option<String>,
    },
    /// The server still has what is here.
    Same,
}

/// Where a model of a hub is: the file, its hash and its size.
pub(super) fn resolve(
    repository: &Repository,
    means: &Means,
    report: &mut Report<'_>,
) -> Result<Target, PullError> {
    let what = format!("hf:{}", repository.name);
    let refused = |message: String| PullError::Refused {
        what: what.clone(),
        message,
    };
    let base = Address::parse(&means.hub)
        .map_err(|message| refused(format!("{}: {message}", means.hub)))?;
    let web = open(means, &what)?;
    let mut get = |path: &str| {
        let address = base.below(path).map_err(&refused)?;
        small(&web, address, &what, means, report)
    };
    let (revision, _) = get(&hub::revision_path(repository))?;
    let commit = hub::commit(&revision).map_err(&refused)?;
    let mut path = hub::tree_path(repository, &commit);
    let mut entries = Vec::new();
    for page in 1.. {
        let (tree, next) = get(&path)?;
        entries.extend(hub::entries(&tree).map_err(&refused)?);
        let Some(next) = next else {
            break;
        };
        if page >= PAGES_MAX {
            return Err(refused(format!(
                "its list of files has more than {PAGES_MAX} pages"
            )));
        }
        // A page elsewhere would get our token: only what follows at the same place is asked.
        let next = base.join(&next).ok().filter(|next| next.same_origin(&base));
        let next = next.ok_or_else(|| refused("its list of files goes on elsewhere".to_owned()))?;
        let query = next.to_string();
        let Some((_, query)) = query.split_once('?') else {
            break;
        };
        path = format!("{}&{query}", hub::tree_path(repository, &commit));
    }
    let found = hub::choose(&entries, &repository.pick).map_err(|message| PullError::Absent {
        what: what.clone(),
        message,
    })?;
    let path = hub::file_path(repository, &commit, &found.path);
    Ok(Target {
        address: base.below(&path).map_err(&refused)?,
        token: means.hub_token.clone(),
        sha256: found.sha256.clone(),
        size: Some(found.size),
        here: None,
    })
}

/// Brings a file into `partial`, or what is missing of it.
pub(super) fn fetch(
    target: &Target,
    partial: &mut Partial,
    means: &Means,
    report: &mut Report<'_>,
) -> Result<Came, PullError> {
    let what = target.address.plain();
    let begun = partial.begun(report)?;
    let mut transfer = transfer(target, means, begun, &what)?;
    let web = open(means, &what)?;
    let result = carry(&web, &mut transfer, target, partial, means, report);
    match result {
        Ok(Next::Whole) => {}
        Ok(Next::Same) => return Ok(Came::Same),
        other => {
            // What has come is what the next pull goes on with; that it failed is said either way.
            partial.describe(transfer.size(), transfer.mark());
            partial.save()?;
            return Err(match other {
                Ok(Next::Stop(stop)) => fault(stop, what, transfer.have()),
                Ok(_) => unreachable!("carry ends with an end"),
                Err(error) => error,
            });
        }
    }
    partial.save()?;
    let (sha256, size) = (partial.sha256(), transfer.have());
    let expected = target.size.unwrap_or(size);
    if size != expected {
        return Err(PullError::Length {
            what,
            expected,
            found: size,
        });
    }
    match &target.sha256 {
        Some(expected) if *expected != sha256 => Err(PullError::Integrity {
            what,
            expected: expected.clone(),
            found: sha256,
        }),
        _ => Ok(Came::Whole {
            sha256,
            size,
            mark: transfer.mark().map(str::to_owned),
        }),
    }
}

/// Goes the whole way; what it returns is one of the ends.
fn carry(
    web: &Web,
    transfer: &mut Transfer,
    target: &Target,
    partial: &mut Partial,
    means: &Means,
    report: &mut Report<'_>,
) -> Result<Next, PullError> {
    let silence = means.patience.silence_ms_max;
    let mut reply: Option<Reply> = None;
    let mut next = transfer.begin();
    loop {
        let (have, size) = (transfer.have(), transfer.size());
        next = match next {
            Next::Whole | Next::Same | Next::Stop(_) => return Ok(next),
            Next::Pause { ms } => {
                web.pause(ms, &mut || tell(report, Phase::Pausing, have, size))?;
                Next::Ask
            }
            Next::Ask => {
                let tick = &mut || tell(report, Phase::Fetching, have, size);
                match web.ask(&transfer.ask(), target.token.as_ref(), silence, tick)? {
                    Ok(answer) => {
                        let next = transfer.answered(&answer.head);
                        reply = Some(answer);
                        next
                    }
                    Err(broken) => transfer.broke(broken),
                }
            }
            Next::Body { from_start } => {
                if from_start {
                    partial.clear()?;
                }
                partial.describe(transfer.size(), transfer.mark());
                let missing = size.unwrap_or(0).saturating_sub(have);
                room(partial.path().parent().unwrap_or(partial.path()), missing)?;
                match reply.take() {
                    Some(mut reply) => body(web, transfer, &mut reply, partial, means, report)?,
                    None => Next::Ask,
                }
            }
        };
    }
}

/// Takes a body, to its end or to where it breaks.
fn body(
    web: &Web,
    transfer: &mut Transfer,
    reply: &mut Reply,
    partial: &mut Partial,
    means: &Means,
    report: &mut Report<'_>,
) -> Result<Next, PullError> {
    let mut unchecked = 0;
    loop {
        let (have, size) = (transfer.have(), transfer.size());
        let tick = &mut || tell(report, Phase::Fetching, have, size);
        let (bytes, ms) = match web.more(reply, means.patience.silence_ms_max, tick)? {
            Ok(Some(more)) => more,
            Ok(None) => return Ok(transfer.ended()),
            Err(broken) => return Ok(transfer.broke(broken)),
        };
        let count = bytes.len() as u64;
        if let Err(next) = transfer.arrived(count, ms) {
            if !matches!(next, Next::Stop(_)) {
                partial.append(&bytes)?;
            }
            return Ok(next);
        }
        partial.append(&bytes)?;
        unchecked += count;
        // Others write to the disk too, and a body without a length has no end that is known.
        if unchecked >= ROOM_EVERY_BYTES {
            unchecked = 0;
            room(partial.path().parent().unwrap_or(partial.path()), 0)?;
        }
        if let Some(rate) = means.rate_max {
            let due_ms = count.saturating_mul(1000) / rate;
            let tick = &mut || tell(report, Phase::Fetching, have + count, size);
            web.pause(due_ms.saturating_sub(ms), tick)?;
        }
    }
}

/// A small answer, whole, and where it goes on.
fn small(
    web: &Web,
    address: Address,
    what: &str,
    means: &Means,
    report: &mut Report<'_>,
) -> Result<(Vec<u8>, Option<String>), PullError> {
    let target = Target {
        address,
        token: means.hub_token.clone(),
        sha256: None,
        size: None,
        here: None,
    };
    let mut transfer = transfer(&target, means, Begun::default(), what)?;
    let silence = means.patience.silence_ms_max;
    let tick = &mut || tell(report, Phase::Resolving, 0, None);
    let mut next = transfer.begin();
    let (mut text, mut page, mut reply) = (Vec::new(), None, None);
    loop {
        next = match next {
            Next::Whole => return Ok((text, page)),
            Next::Same => Next::Ask,
            Next::Stop(stop) => return Err(fault(stop, what.to_owned(), 0)),
            Next::Pause { ms } => {
                // A small answer is asked for from its start.
                transfer.start_over();
                web.pause(ms, tick)?;
                Next::Ask
            }
            Next::Ask => match web.ask(&transfer.ask(), target.token.as_ref(), silence, tick)? {
                Ok(answer) => {
                    let next = transfer.answered(&answer.head);
                    (page, reply) = (answer.next.clone(), Some(answer));
                    next
                }
                Err(broken) => transfer.broke(broken),
            },
            Next::Body { .. } => {
                text.clear();
                let Some(mut reply) = reply.take() else {
                    next = Next::Ask;
                    continue;
                };
                loop {
                    match web.more(&mut reply, silence, tick)? {
                        Ok(None) => break transfer.ended(),
                        Err(broken) => break transfer.broke(broken),
                        Ok(Some((bytes, ms))) => {
                            text.extend_from_slice(&bytes);
                            if text.len() > ANSWER_BYTES_MAX {
                                return Err(PullError::Refused {
                                    what: what.to_owned(),
                                    message: format!(
                                        "an answer of more than {ANSWER_BYTES_MAX} bytes"
                                    ),
                                });
                            }
                            if let Err(next) = transfer.arrived(bytes.len() as u64, ms) {
                                break next;
                            }
                        }
                    }
                }
            }
        };
    }
}

fn transfer(
    target: &Target,
    means: &Means,
    begun: Begun,
    what: &str,
) -> Result<Transfer, PullError> {
    check(&target.address, means.insecure).map_err(|message| PullError::Refused {
        what: what.to_owned(),
        message,
    })?;
    let wanted = Wanted {
        address: target.address.clone(),
        size: target.size,
        known: target.sha256.is_some(),
        here: target.here.clone(),
        insecure: means.insecure,
    };
    Ok(Transfer::new(wanted, means.patience, means.seed, begun))
}

fn open(means: &Means, what: &str) -> Result<Web, PullError> {
    Web::open(means.patience.silence_ms_max).map_err(|error| PullError::Refused {
        what: what.to_owned(),
        message: error.to_string(),
    })
}

fn fault(stop: Stop, what: String, bytes: u64) -> PullError {
    match stop {
        Stop::Absent { status } => PullError::Absent {
            what,
            message: format!("the server answers {status}: there is no such thing"),
        },
        Stop::Denied { status } => PullError::Denied { what, status },
        Stop::Refused { message } => PullError::Refused { what, message },
        Stop::Length { expected, found } => PullError::Length {
            what,
            expected,
            found,
        },
        Stop::GivenUp { attempts, message } => PullError::GivenUp {
            what,
            attempts,
            bytes,
            message,
        },
    }
}

/// Bytes of an answer of a hub, at most: a list of a thousand files has about a third of a megabyte.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Pages of a list of files, at most.
const PAGES_MAX: u32 = 16;
/// How often the disk's room is looked at while bytes come.
const ROOM_EVERY_BYTES: u64 = 64 << 20;
