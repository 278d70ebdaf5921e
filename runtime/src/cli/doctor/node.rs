//! What a running node knows: its actors, its sockets, and how its coordinator sees it.

use super::super::client;
use super::super::fault::{Code, Fault};
use super::super::{Context, table};
use super::sockets::{self, Kind, Socket};
use super::{Finding, bad, ok, unknown};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use troop_actors::ticket::LEEWAY_SECONDS;
use troop_gateway::control::{CheckLine, Checkup, CoordinatorSeen, Engine, Ps, Status, Worker};

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let status: Status = match client::get(context, "/v1/troop/status") {
        Ok(status) => status,
        Err(fault) if fault.code == Code::Unreachable => {
            let words = "no node is running here: what only one knows is left out";
            return vec![unknown("node", words)];
        }
        Err(fault) => return vec![bad("node", fault.what(), "troop -v node … says more")],
    };
    let up = table::span(status.uptime_seconds);
    let mut found = vec![ok("node", format_args!("it has been running for {up}"))];
    let wrong = status.checks.iter().filter(|check| !check.ok);
    found.extend(wrong.map(|check| ill(&status, check)));
    found.extend(status.worker.as_ref().map(worker));
    found.extend(engines(context));
    found.push(listening(context, &status));
    found.extend(coordinator(context));
    found
}

/// Something that the node itself finds wrong.
fn ill(status: &Status, check: &CheckLine) -> Finding {
    let rests = (status.worker.as_ref()).is_some_and(|worker| worker.reason.is_some());
    let detail = format!("{}: {}", check.name, check.detail);
    match &check.name[..] {
        // The worker that rests by its owner's wish may be the only one.
        "models" if rests => unknown("actors", detail),
        "models" => bad(
            "actors",
            detail,
            "troop ps says how engines are; troop invite brings in another worker",
        ),
        "engines" => bad("actors", detail, "troop ps says why"),
        _ => bad(
            "actors",
            detail,
            "it is started again by itself; troop -v node … says why it falls",
        ),
    }
}

fn worker(worker: &Worker) -> Finding {
    match &worker.reason {
        None => ok(
            "worker",
            format_args!("{}, {} run", worker.state, worker.running),
        ),
        Some(reason) => ok("worker", format_args!("{}: {reason}", worker.state)),
    }
}

fn engines(context: &Context) -> Vec<Finding> {
    let ps: Result<Ps, Fault> = client::get(context, "/v1/troop/ps");
    let engines = match ps {
        Ok(ps) => ps.engines,
        Err(fault) => return vec![unknown("engines", fault.what())],
    };
    let finding = |engine: &Engine| {
        let Engine {
            model,
            state,
            reason,
            ..
        } = engine;
        let why = reason.as_deref().unwrap_or_default();
        match &state[..] {
            "unfit" => bad(
                "engines",
                format_args!("{model} cannot be served: {why}"),
                "troop show --fit MODEL says what fits",
            ),
            "down" => bad(
                "engines",
                format_args!("{model} is down: {why}"),
                "it is started again by itself; troop show --verify MODEL looks at its file",
            ),
            word => ok("engines", format_args!("{model} is {word}")),
        }
    };
    engines.iter().map(finding).collect()
}

fn listening(context: &Context, status: &Status) -> Finding {
    let note = std::fs::read(context.home.path("node.json")).unwrap_or_default();
    let note: Value = serde_json::from_slice(&note).unwrap_or_default();
    let pid = note["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    // A node that is asked at another socket is another one.
    let Some(pid) = pid.filter(|_| note["node"] == status.node[..]) else {
        return unknown(
            "listening",
            "which process the node is cannot be told from here",
        );
    };
    match sockets::listening(pid) {
        Ok(sockets) => judge(&sockets, &status.listening),
        Err(error) => unknown("listening", error),
    }
}

/// Off the loopback there may be the one UDP port, and HTTP where the owner has said so.
fn judge(sockets: &BTreeSet<Socket>, http: &[String]) -> Finding {
    let far = || sockets.iter().filter(|socket| socket.is_far());
    let asked = |address: &SocketAddr| http.iter().any(|known| *known == address.to_string());
    let ports: Vec<_> = far().filter(|socket| socket.kind == Kind::Udp).collect();
    let strange = far().find(|socket| socket.kind == Kind::Tcp && !asked(&socket.address));
    let open: Vec<_> = far().filter(|socket| socket.kind == Kind::Tcp).collect();
    if let Some(strange) = strange {
        let detail = format!("{strange} can be reached from elsewhere, and nobody asked for it");
        return bad(
            "listening",
            detail,
            "stop this node, and report it: no node does that",
        );
    }
    if ports.len() > 1 {
        let detail = format!(
            "{} and {} can be reached from elsewhere: one port is all a node needs",
            ports[0], ports[1]
        );
        return bad(
            "listening",
            detail,
            "stop this node, and report it: no node does that",
        );
    }
    let port = match ports[..] {
        [] => "no port for other nodes".to_owned(),
        [port, ..] => port.to_string(),
    };
    match open[..] {
        [] => ok(
            "listening",
            format_args!("off the loopback on {port} and nothing else"),
        ),
        [http, ..] => ok(
            "listening",
            format_args!(
                "off the loopback on {port}, and as asked for on {http}, where every request needs a key"
            ),
        ),
    }
}

fn coordinator(context: &Context) -> Vec<Finding> {
    let checkup: Checkup = match client::get(context, "/v1/troop/checkup") {
        Ok(checkup) => checkup,
        Err(fault) => return vec![unknown("coordinator", fault.what())],
    };
    if checkup.coordinates {
        return vec![ok("coordinator", "this node is its troop's")];
    }
    let Some(seen) = checkup.coordinator else {
        let why = checkup.failure.unwrap_or_default();
        let fix = "is it running, and its UDP port open to this machine? Streams that run go on without it";
        return vec![bad("coordinator", why, fix)];
    };
    let CoordinatorSeen {
        rtt_ms,
        ahead_ms,
        seen_at,
        reached,
        unreached,
    } = seen;
    let mut found = vec![ok(
        "coordinator",
        format_args!("answers within {rtt_ms} ms, and sees this node at {seen_at}"),
    )];
    found.push(clock(ahead_ms));
    let why = unreached.unwrap_or_default();
    found.push(match reached {
        Some(true) => ok("port", "the coordinator reaches this node's UDP port"),
        None => unknown("port", why),
        Some(false) => bad(
            "port",
            format_args!("the coordinator does not reach this node's UDP port: {why}"),
            "a worker needs it open to its clients: forward it at the router, and say it with --quic ADDR; a client does not",
        ),
    });
    found
}

/// How far the coordinator's clock is ahead of this one's.
fn clock(ahead_ms: i64) -> Finding {
    let apart = ahead_ms.unsigned_abs();
    let word = if ahead_ms < 0 { "ahead of" } else { "behind" };
    let detail = format!("{apart} ms {word} the coordinator's");
    match apart < LEEWAY_SECONDS * 1_000 {
        true => ok("clock", detail),
        false => bad(
            "clock",
            format_args!("{detail}: tickets are refused beyond {LEEWAY_SECONDS} s"),
            "timedatectl set-ntp true, here and on the coordinator",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn judged(sockets: &[(Kind, &str)], http: &[&str]) -> State {
        let sockets = sockets.iter().map(|(kind, address)| Socket {
            kind: *kind,
            address: address.parse().unwrap(),
        });
        let http: Vec<String> = http.iter().map(ToString::to_string).collect();
        judge(&sockets.collect(), &http).state
    }

    #[test]
    fn one_udp_port_and_what_was_asked_for_are_all_that_may_be_off_the_loopback() {
        use Kind::{Tcp, Udp};
        let near = (Tcp, "127.0.0.1:9000");
        let port = (Udp, "0.0.0.0:9001");
        let http = (Tcp, "0.0.0.0:9000");
        let cases = [
            (&[near][..], &[][..], State::Ok),
            (&[near, port], &["127.0.0.1:9000"], State::Ok),
            (&[near, port, (Udp, "127.0.0.1:53")], &[], State::Ok),
            (&[http, port], &["0.0.0.0:9000"], State::Ok),
            (&[http, port], &["127.0.0.1:9000"], State::Bad),
            (&[near, port, (Udp, "[::]:9002")], &[], State::Bad),
            (&[(Tcp, "[::]:22"), port], &[], State::Bad),
        ];
        for (sockets, http, expected) in cases {
            assert_eq!(judged(sockets, http), expected, "{sockets:?} {http:?}");
        }
    }

    #[test]
    fn a_clock_may_be_off_by_less_than_tickets_bear() {
        for (ahead_ms, expected) in [
            (0, State::Ok),
            (-4_999, State::Ok),
            (5_000, State::Bad),
            (i64::MIN, State::Bad),
        ] {
            assert_eq!(clock(ahead_ms).state, expected, "{ahead_ms}");
        }
    }
}
