//! `nodes` and `ping`: who is there, and how far away.

use super::fault::{Code, Fault};
use super::watch::WatchArgs;
use super::{Context, client, print, print_json, table};
use clap::Args;
use serde::Serialize;
use std::time::Duration;
use troop_gateway::control::{NodeLine, Nodes, Ping};

pub(super) fn list(context: &Context, watch: &WatchArgs) -> Result<(), Fault> {
    let look = || client::get(context, "/v1/troop/nodes");
    watch.show(context, look, |nodes| draw(context, nodes))
}

fn draw(context: &Context, nodes: &Nodes) -> Result<(), Fault> {
    let row = |line: &NodeLine| {
        vec![
            name(line),
            line.role.clone(),
            line.state.clone(),
            way(line),
            serves(line),
            line.seen_ms.map(|ms| seen(line, ms)).unwrap_or_default(),
            line.node[..12].to_owned(),
        ]
    };
    let rows: Vec<_> = nodes.nodes.iter().map(row).collect();
    let header = ["NODE", "ROLE", "STATE", "PATH", "SERVES", "SEEN", "ID"];
    table::show(context, &header, &rows)
}

/// The models that a node serves, or why it serves none.
fn serves(line: &NodeLine) -> String {
    match &line.rest {
        Some(rest) => format!("rests: {rest}"),
        None => line.models.join(","),
    }
}

/// What a node is called, or the beginning of its id.
pub(super) fn name(line: &NodeLine) -> String {
    match line.name.is_empty() {
        true => line.node[..12].to_owned(),
        false => line.name.clone(),
    }
}

fn seen(line: &NodeLine, ms: u64) -> String {
    match line.state.as_str() {
        "alive" => "now".to_owned(),
        _ => table::ago(ms / 1000),
    }
}

/// How a node is reached, as in `lan 0.6 ms`.
pub(super) fn way(line: &NodeLine) -> String {
    match (&line.path, line.rtt_micros) {
        (Some(path), Some(rtt)) => format!("{path} {}", millis(rtt)),
        (Some(path), None) => path.clone(),
        (None, _) => "-".to_owned(),
    }
}

fn millis(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        _ => format!("{} ms", micros / 1000),
    }
}

/// Arguments of `ping`.
#[derive(Debug, Args)]
pub(super) struct PingArgs {
    /// A node's name, or the beginning of its id
    node: String,
    /// How often it is asked, once a second
    #[arg(long, short = 'n', value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=COUNT_MAX))]
    count: u32,
}

/// What came of all questions.
#[derive(Debug, Serialize)]
struct Pinged {
    schema: &'static str,
    node: Option<String>,
    name: String,
    path: Option<String>,
    address: Option<String>,
    sent: u32,
    received: usize,
    loss_percent: u32,
    rtt_micros_min: u64,
    rtt_micros_median: u64,
    rtt_micros_max: u64,
}

pub(super) fn ping(context: &Context, args: &PingArgs) -> Result<(), Fault> {
    let path = format!("/v1/troop/ping?node={}", client::encoded(&args.node));
    let mut took = Vec::new();
    let mut last = None;
    let mut fault = None;
    for number in 0..args.count {
        if number > 0 {
            std::thread::sleep(EVERY);
        }
        match client::get::<Ping>(context, &path) {
            Ok(ping) => {
                if !context.json {
                    let way = ping.node.address.as_deref().unwrap_or_default();
                    let path = ping.node.path.as_deref().unwrap_or("-");
                    let took = millis(ping.took_micros);
                    print(format_args!("{} {path} {way} {took}", name(&ping.node)))?;
                }
                took.push(ping.took_micros);
                last = Some(ping.node);
            }
            Err(lost) if lost.name == "node_unreachable" => {
                context.say(lost.what());
                fault = Some(lost);
            }
            Err(other) => return Err(other),
        }
    }
    took.sort_unstable();
    let (received, sent) = (took.len(), args.count);
    if let (0, Some(lost)) = (received, fault) {
        return Err(Fault::new(Code::Unreachable, lost.what())
            .named("node_unreachable")
            .hint("troop nodes"));
    }
    let lost = u64::from(sent) - received as u64;
    let pinged = Pinged {
        schema: "troop.ping/v1",
        name: last.as_ref().map_or_else(|| args.node.clone(), name),
        path: last.as_ref().and_then(|line| line.path.clone()),
        address: last.as_ref().and_then(|line| line.address.clone()),
        node: last.map(|line| line.node),
        sent,
        received,
        loss_percent: (lost * 100 / u64::from(sent)) as u32,
        rtt_micros_min: took[0],
        rtt_micros_median: took[received / 2],
        rtt_micros_max: took[received - 1],
    };
    if context.json {
        return print_json(&pinged);
    }
    print(format_args!(
        "{received} of {sent} answered, {} % lost; {} at least, {} median, {} at most",
        pinged.loss_percent,
        millis(pinged.rtt_micros_min),
        millis(pinged.rtt_micros_median),
        millis(pinged.rtt_micros_max)
    ))
}

/// What lies between two questions, and how many there may be.
const EVERY: Duration = Duration::from_secs(1);
const COUNT_MAX: i64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_said_as_people_say_it() {
        let line = |path: Option<&str>, rtt_micros| NodeLine {
            name: String::new(),
            node: "00".repeat(32),
            role: "worker".to_owned(),
            state: "alive".to_owned(),
            path: path.map(str::to_owned),
            address: None,
            rtt_micros,
            models: vec!["tiny".to_owned()],
            rest: rtt_micros.map(|_| "on battery".to_owned()),
            seen_ms: None,
        };
        assert_eq!(way(&line(Some("lan"), Some(620))), "lan 0.6 ms");
        assert_eq!(way(&line(Some("direct"), Some(42_000))), "direct 42 ms");
        assert_eq!(way(&line(Some("self"), None)), "self");
        assert_eq!(way(&line(None, None)), "-");
        assert_eq!(name(&line(None, None)), "000000000000");
        assert_eq!(serves(&line(None, None)), "tiny");
        assert_eq!(serves(&line(None, Some(1))), "rests: on battery");
    }
}
