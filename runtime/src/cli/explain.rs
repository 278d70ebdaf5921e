//! `explain`: why a request waited, why it ran where it did, how long it took and what it cost.

use super::fault::Fault;
use super::{Context, client, print, print_json, table};
use clap::Args;
use troop_gateway::control::Explanation;
use troop_gateway::control::explain::{Attempt, Candidate};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The request, as its answer calls it: the id, or the header x-request-id
    #[arg(value_name = "REQUEST")]
    request: String,
}

pub(super) fn go(context: &Context, args: ExplainArgs) -> Result<(), Fault> {
    let path = format!("/v1/troop/explain/{}", client::encoded(&args.request));
    let told: Explanation = client::get(context, &path)?;
    if context.json {
        return print_json(&told);
    }
    print(format_args!("request {}  {}", told.request, told.state))?;
    line("because", told.reason)?;
    line("fault", told.fault.map(|fault| format!("of the {fault}")))?;
    let asked = &told.asked;
    let model = asked.name.as_ref().unwrap_or(&asked.model);
    let choices = asked.choices.filter(|choices| *choices > 1);
    let wanted = [
        Some(model.clone()),
        asked
            .prompt_bytes
            .map(|bytes| format!("{bytes} bytes of prompt")),
        asked
            .tokens_max
            .map(|tokens| format!("at most {tokens} tokens")),
        choices.map(|choices| format!("{choices} choices")),
        Some(format!("paid by {}", short(&asked.member))),
        asked
            .client
            .as_ref()
            .map(|node| format!("asked by {}", short(node))),
    ];
    line("asked", joined(wanted))?;
    for attempt in &told.attempts {
        tell(attempt)?;
        candidates(context, &attempt.candidates)?;
    }
    if let Some(waits) = &told.waits {
        let waited = seconds(waits.waited_ms);
        print(format_args!(
            "  waits      for {waited}, behind {} others",
            waits.ahead
        ))?;
        candidates(context, &waits.candidates)?;
    }
    let timings = &told.timings;
    let timed = [
        timings
            .queue_ms
            .map(|ms| format!("{} in the line", seconds(ms))),
        timings
            .first_token_ms
            .map(|ms| format!("{} to the first token", seconds(ms))),
        timings
            .tokens_per_second
            .map(|rate| format!("{rate:.1} tokens a second")),
        timings.total_ms.map(|ms| format!("{} in all", seconds(ms))),
    ];
    line("time", joined(timed))?;
    let bill = &told.bill;
    let by = match bill.paid_by_voucher {
        Some(true) => " by voucher: nobody showed a receipt",
        _ => "",
    };
    let paid = |micros| format!("{} credits paid{by}", table::credits(micros));
    let remembered = bill.reused_tokens.filter(|tokens| *tokens > 0);
    let counted = [
        bill.prompt_tokens.map(|tokens| format!("{tokens} read")),
        remembered.map(|tokens| format!("{tokens} of them remembered")),
        bill.completion_tokens
            .map(|tokens| format!("{tokens} written")),
    ];
    line("tokens", joined(counted))?;
    let paid = [
        bill.paid_micros.map(paid),
        bill.held_micros
            .map(|micros| format!("{} were set aside", table::credits(micros))),
    ];
    line("price", joined(paid))?;
    line("missing", told.missing)
}

fn tell(attempt: &Attempt) -> Result<(), Fault> {
    let lost = attempt.lost.as_ref();
    let after = |what: &str, ms: Option<u64>| match ms {
        Some(ms) => format!("{what} after {}", seconds(ms)),
        None => what.to_owned(),
    };
    let told = [
        attempt
            .worker
            .as_ref()
            .map(|worker| format!("by {}", short(worker))),
        attempt
            .refused
            .as_ref()
            .map(|reason| format!("refused: {reason}")),
        attempt
            .waited_ms
            .map(|ms| format!("waited {}", seconds(ms))),
        attempt
            .standby
            .as_ref()
            .map(|worker| format!("{} stands by", short(worker))),
        attempt.started_ms.map(|ms| after("begun", Some(ms))),
        lost.map(|reason| format!("{}: {reason}", after("lost", attempt.lost_ms))),
        attempt
            .fault
            .as_ref()
            .map(|fault| format!("by a fault of the {fault}")),
    ];
    let number = format!("attempt {}", attempt.number + 1);
    line(&number, joined(told))
}

fn candidates(context: &Context, candidates: &[Candidate]) -> Result<(), Fault> {
    if candidates.is_empty() {
        return Ok(());
    }
    let row = |one: &Candidate| {
        vec![
            format!("    {}", short(&one.worker)),
            one.finding.clone(),
            seconds(one.first_ms),
            seconds(one.finish_ms),
            format!("{}/{}", one.taken, one.sequences_max),
            one.prefix_tokens.to_string(),
        ]
    };
    let rows: Vec<_> = candidates.iter().map(row).collect();
    let header = [
        "    WORKER",
        "FOUND",
        "FIRST ",
        "LAST ",
        "TAKEN ",
        "REMEMBERS ",
    ];
    table::show(context, &header, &rows)
}

fn line(name: &str, text: Option<String>) -> Result<(), Fault> {
    match text {
        Some(text) => print(format_args!("  {name:<10} {text}")),
        None => Ok(()),
    }
}

fn joined<const N: usize>(parts: [Option<String>; N]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// Milliseconds as people say them.
fn seconds(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        _ => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
    }
}
