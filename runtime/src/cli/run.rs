//! `run`: asks a model once, on the running node or on one that is started for the occasion.
//!
//! A question is put once. Only where nobody listens at the node's socket, or where the node refuses because
//! it does not serve the model yet, is it put again: in both cases nothing of an answer can have been said.

use super::fault::{Code, Fault};
use super::{Context, client, models, node, tokio};
use crate::boot;
use bytes::Bytes;
use clap::Args;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use troop_gateway::control::{Engine, LoadWanted, Loaded, Ps};

/// Arguments of `run`.
#[derive(Debug, Default, Args)]
pub(super) struct RunArgs {
    /// The model
    model: String,
    /// What to ask; what is piped in comes after it. On a terminal it is asked for where it is not given
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
    let runtime = tokio()?;
    let socket = context.home.socket();
    let asked = runtime.block_on(ask(context, &args, &args.model, &prompt, &socket));
    match asked {
        // Nothing listened, so nothing was asked, and asking elsewhere cannot say anything twice.
        Err(fault) if fault.code == Code::Unreachable => {}
        // Refused before a word of the answer.
        Err(fault) if fault.name == "model_not_found" => {
            let model = load(context, &args.model, fault, &runtime)?;
            return runtime.block_on(ask(context, &args, &model, &prompt, &socket));
        }
        other => return other,
    }
    let options = node::occasional(context, &args.model)?;
    context.say("No node is running here; starting one for this question");
    runtime.block_on(async {
        let running = boot::start(&context.home, options).await?;
        ready(&socket, &args.model).await?;
        let asked = ask(context, &args, &args.model, &prompt, &socket).await;
        running.stop(Duration::ZERO).await;
        asked
    })
}

/// Has the running node serve a model that it does not serve yet; returns the name to ask it by. `refusal`
/// is what the node said, and stays what is wrong where the model is neither here nor known.
fn load(
    context: &Context,
    model: &str,
    refusal: Fault,
    runtime: &::tokio::runtime::Runtime,
) -> Result<String, Fault> {
    if !models::knows(context, model)? {
        return Err(refusal);
    }
    models::fetch(context, model)?;
    context.say(format!("Loading {model} on the running node"));
    let wanted = LoadWanted {
        model: model.to_owned(),
    };
    let loaded: Loaded = client::post(context, "/v1/troop/models/load", &wanted)?;
    // The node may serve the same model by another name; its digest is right in either case.
    runtime.block_on(ready(&context.home.socket(), &loaded.loading.digest))?;
    Ok(loaded.loading.digest)
}

/// The words of the command line, then what is piped in; on a terminal one line that is asked for.
fn prompt(args: &RunArgs) -> Result<String, Fault> {
    let mut prompt = args.prompt.join(" ");
    if !std::io::stdin().is_terminal() {
        let mut piped = String::new();
        std::io::stdin()
            .take(PIPED_BYTES_MAX + 1)
            .read_to_string(&mut piped)?;
        if piped.len() as u64 > PIPED_BYTES_MAX {
            return Err(Fault::usage(format!(
                "standard input: more than {PIPED_BYTES_MAX} bytes are piped in"
            )));
        }
        if !piped.trim().is_empty() {
            if !prompt.is_empty() {
                prompt.push_str("\n\n");
            }
            prompt.push_str(&piped);
        }
    } else if prompt.is_empty() {
        eprint!("Ask {}: ", args.model);
        std::io::stdin()
            .lock()
            .take(PIPED_BYTES_MAX)
            .read_line(&mut prompt)?;
        prompt.truncate(prompt.trim_end().len());
    }
    if prompt.is_empty() {
        return Err(Fault::usage("PROMPT: say what to ask, or pipe it in")
            .hint(format!("troop run {} \"Why is the sky blue?\"", args.model)));
    }
    Ok(prompt)
}

/// Waits until the model can be asked for, or will never be.
async fn ready(socket: &Path, model: &str) -> Result<(), Fault> {
    let path = format!("/v1/models/{}", client::encoded(model));
    for _ in 0..READY_TRIES {
        match client::send(socket, Method::GET, &path, Bytes::new()).await {
            Ok(_) => return Ok(()),
            Err(fault) if fault.code == Code::Unreachable => return Err(fault),
            Err(_) => {}
        }
        let ps: Ps = client::get_from(socket, "/v1/troop/ps").await?;
        let unfit = |engine: &&Engine| {
            let asked = engine.model == model || engine.digest == model;
            asked && engine.state == "unfit"
        };
        if let Some(engine) = ps.engines.iter().find(unfit) {
            let reason = engine.reason.as_deref().unwrap_or("it is unfit");
            return Err(Fault::failed(format!("{model} cannot be served")).because(reason));
        }
        ::tokio::time::sleep(READY_EVERY).await;
    }
    Err(Fault::new(Code::TimedOut, format!("{model} was not ready in time")).hint("troop ps"))
}

/// The request for `prompt`, in OpenAI's words.
fn request(args: &RunArgs, model: &str, prompt: &str) -> Value {
    let mut messages = Vec::new();
    messages.extend(
        args.system
            .iter()
            .map(|text| json!({ "role": "system", "content": text })),
    );
    messages.push(json!({ "role": "user", "content": prompt }));
    let mut request = json!({
        "model": model,
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
    request
}

/// Asks once and prints the answer as it comes.
async fn ask(
    context: &Context,
    args: &RunArgs,
    model: &str,
    prompt: &str,
    socket: &Path,
) -> Result<(), Fault> {
    let body = Bytes::from(request(args, model, prompt).to_string());
    let mut stdout = std::io::stdout().lock();
    let answer = printed(context, args, body, socket, &mut stdout);
    match context.timeout {
        Some(deadline) => client::within(deadline, answer).await,
        None => answer.await,
    }
}

async fn printed(
    context: &Context,
    args: &RunArgs,
    body: Bytes,
    socket: &Path,
    stdout: &mut impl Write,
) -> Result<(), Fault> {
    #[allow(clippy::disallowed_methods)] // Timings for a person are of the real clock.
    let start = Instant::now();
    let path = "/v1/chat/completions";
    let response = client::send(socket, Method::POST, path, body).await?;
    let mut body = response.into_body();
    let mut lines = Lines::default();
    let mut first = None;
    let mut usage = Value::Null;
    let mut whole = false;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Fault::broken_off)?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        for line in lines.push(data)? {
            let Some(event) = line.strip_prefix("data: ") else {
                continue;
            };
            if event == "[DONE]" {
                whole = true;
                continue;
            }
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
    if !whole {
        return Err(Fault::broken_off("the stream ended before its last event"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;
    use std::os::unix::net::UnixListener;

    /// What a node says that hears one question, answers so and hangs up; and how often it was asked.
    fn answered(answer: &str) -> (Result<(), Fault>, String) {
        let folder =
            std::env::temp_dir().join(format!("troop-run-{}-{}", std::process::id(), answer.len()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("ctl.sock");
        let node = UnixListener::bind(&socket).unwrap();
        let answer = answer.to_owned();
        let hung_up = std::thread::spawn(move || {
            let (mut client, _) = node.accept().unwrap();
            let _ = client.read(&mut [0; 4096]).unwrap();
            client.write_all(answer.as_bytes()).unwrap();
        });
        let context = Context::quiet(Home::find(Some(folder.clone())).unwrap());
        let mut said = Vec::new();
        let (args, body) = (RunArgs::default(), Bytes::from("{}"));
        let outcome = tokio()
            .unwrap()
            .block_on(printed(&context, &args, body, &socket, &mut said));
        hung_up.join().unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        (outcome, String::from_utf8(said).unwrap())
    }

    #[test]
    fn an_answer_that_breaks_off_is_a_failure_and_no_reason_to_ask_elsewhere() {
        let event = "data: {\"choices\":[{\"delta\":{\"content\":\"The sky\"}}]}\n\n";
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let cases = [
            (String::new(), ""),
            (chunked.to_owned(), ""),
            (
                format!("{chunked}{:x}\r\n{event}\r\n", event.len()),
                "The sky",
            ),
            // Ended in good order, but before its last event.
            (format!("HTTP/1.1 200 OK\r\n\r\n{event}"), "The sky\n"),
        ];
        for (answer, text) in cases {
            let (outcome, said) = answered(&answer);
            let fault = outcome.expect_err(&answer);
            assert_eq!((fault.code, &fault.name[..]), (Code::Failed, "broken_off"));
            assert_eq!(said, text, "{answer}");
        }
    }
}
