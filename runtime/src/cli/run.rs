//! `run`: asks a model once, on the running node or on one that is started for the occasion.

use super::fault::{Code, Fault};
use super::{Context, client, node, tokio};
use crate::boot;
use bytes::Bytes;
use clap::Args;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};
use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The model
    model: String,
    /// What to ask; what is piped in comes after it
    prompt: Vec<String>,
    /// Tokens of the answer, at most
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
    /// 0 takes the likeliest token every time
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// The same seed gives the same answer
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What the model is told first
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Say how long it took
    #[arg(long)]
    timings: bool,
}

pub(super) fn go(context: &Context, args: RunArgs) -> Result<(), Fault> {
    let prompt = prompt(&args)?;
    let mut messages = Vec::new();
    messages.extend(
        args.system
            .iter()
            .map(|text| json!({ "role": "system", "content": text })),
    );
    messages.push(json!({ "role": "user", "content": prompt }));
    let mut request = json!({
        "model": args.model,
        "messages": messages,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    let options = [
        ("max_tokens", args.max_tokens.map(Value::from)),
        ("temperature", args.temperature.map(Value::from)),
        ("seed", args.seed.map(Value::from)),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            request[name] = value;
        }
    }
    let body = Bytes::from(request.to_string());
    let runtime = tokio()?;
    let asked = runtime.block_on(ask(context, &args, &context.home.socket(), body.clone()));
    match asked {
        Err(fault) if fault.code == Code::Unreachable => {}
        other => return other,
    }
    let options = node::occasional(context, &args.model)?;
    eprintln!("No node is running here; starting one for this question");
    runtime.block_on(async {
        let running = boot::start(&context.home, options).await?;
        let socket = context.home.socket();
        ready(&socket, &args.model).await?;
        let asked = ask(context, &args, &socket, body).await;
        running.stop(Duration::ZERO).await;
        asked
    })
}

/// The words of the command line, then what is piped in.
fn prompt(args: &RunArgs) -> Result<String, Fault> {
    let mut prompt = args.prompt.join(" ");
    if !std::io::stdin().is_terminal() {
        let mut piped = String::new();
        std::io::stdin()
            .take(PIPED_BYTES_MAX)
            .read_to_string(&mut piped)?;
        if !piped.trim().is_empty() {
            if !prompt.is_empty() {
                prompt.push_str("\n\n");
            }
            prompt.push_str(&piped);
        }
    }
    if prompt.is_empty() {
        return Err(Fault::usage("PROMPT: say what to ask, or pipe it in"));
    }
    Ok(prompt)
}

/// Waits until the model can be asked for.
async fn ready(socket: &Path, model: &str) -> Result<(), Fault> {
    let path = format!("/v1/models/{model}");
    for _ in 0..READY_TRIES {
        if client::send(socket, Method::GET, &path, Bytes::new())
            .await
            .is_ok()
        {
            return Ok(());
        }
        ::tokio::time::sleep(READY_EVERY).await;
    }
    Err(Fault::new(Code::TimedOut, format!("{model} was not ready in time")).hint("troop -v run …"))
}

async fn ask(context: &Context, args: &RunArgs, socket: &Path, body: Bytes) -> Result<(), Fault> {
    #[allow(clippy::disallowed_methods)] // Timings for a person are of the real clock.
    let start = Instant::now();
    let path = "/v1/chat/completions";
    let response = client::send(socket, Method::POST, path, body).await?;
    let mut body = response.into_body();
    let mut lines = Lines::default();
    let mut first = None;
    let mut usage = Value::Null;
    let mut stdout = std::io::stdout().lock();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Fault::new(Code::Unreachable, "the answer broke off").because(error)
        })?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        for line in lines.push(data)? {
            let Some(event) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") else {
                continue;
            };
            let event: Value = serde_json::from_str(event).map_err(Fault::failed)?;
            if event.get("error").is_some() {
                return Err(client::fault(500, event.to_string().as_bytes()));
            }
            if let Some(counts) = event.get("usage").filter(|usage| !usage.is_null()) {
                usage = counts.clone();
            }
            if context.json {
                writeln!(stdout, "{event}")?;
            } else if let Some(text) = event["choices"][0]["delta"]["content"].as_str() {
                write!(stdout, "{text}")?;
                if !text.is_empty() {
                    first.get_or_insert(start.elapsed());
                }
            }
            stdout.flush()?;
        }
    }
    if !context.json {
        writeln!(stdout)?;
    }
    if args.timings {
        let (all, first) = (start.elapsed(), first.unwrap_or_default());
        let tokens = usage["completion_tokens"].as_u64().unwrap_or(0);
        let rate = tokens.saturating_sub(1) as f64 / (all - first).as_secs_f64().max(1e-9);
        eprintln!(
            "  {tokens} tokens, {rate:.1} tok/s, {:.3} s to first token, {} prompt tokens",
            first.as_secs_f64(),
            usage["prompt_tokens"].as_u64().unwrap_or(0)
        );
    }
    Ok(())
}

/// Whole lines of a stream of bytes.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, data: &[u8]) -> Result<Vec<String>, Fault> {
        self.0.extend(data);
        if self.0.len() > LINE_BYTES_MAX {
            return Err(Fault::failed("the node sends a line that is too long"));
        }
        let mut lines = Vec::new();
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        Ok(lines)
    }
}

/// Bytes that may be piped in; the node takes no more either.
const PIPED_BYTES_MAX: u64 = 8 << 20;
/// Bytes of one line of a stream, at most.
const LINE_BYTES_MAX: usize = 16 << 20;
/// How often it is asked whether the model is there, and how many times.
const READY_EVERY: Duration = Duration::from_millis(25);
const READY_TRIES: u32 = 4_800;
