//! One question to a node and its answer, as it comes.
//!
//! What has come of an [`Answer`] is kept outside the future that reads it: whoever stops listening has all
//! that was said, and the node, whose client has hung up, stops decoding.

use super::super::client;
use super::super::fault::Fault;
use super::show::Show;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Map, Value};
use std::path::Path;
use std::time::{Duration, Instant};

/// What a node has said, so far or in the end.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// The request's id, as the node calls it.
    pub(super) request: String,
    /// The text.
    pub(super) text: String,
    /// Why it ended, in OpenAI's words, if it has.
    pub(super) finish: Option<String>,
    /// What was counted, if it was whole.
    pub(super) usage: Usage,
    /// When it came.
    pub(super) times: Times,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Tokens of the prompt.
    pub(super) prompt_tokens: u64,
    /// Those of them that the worker had computed before.
    pub(super) cached_tokens: u64,
    /// Tokens of the answer.
    pub(super) completion_tokens: u64,
    /// Millionths of a credit that were paid, where the node says.
    pub(super) cost_micros: Option<u64>,
}

/// When it came, from the moment it was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// A worker had begun: what passed before was queue and load.
    pub(super) begun: Option<Duration>,
    /// The first text was there.
    pub(super) first: Option<Duration>,
    /// All was there.
    pub(super) all: Option<Duration>,
}

/// Asks `request` of the node at `socket`, and shows the answer as it comes.
pub(super) async fn ask(
    socket: &Path,
    request: &Map<String, Value>,
    answer: &mut Answer,
    show: &mut Show<'_>,
) -> Result<(), Fault> {
    #[allow(clippy::disallowed_methods)] // Timings for a person are of the real clock.
    let start = Instant::now();
    let body = serde_json::to_vec(request).map_err(Fault::failed)?;
    let path = "/v1/chat/completions";
    let response = client::send(socket, Method::POST, path, Bytes::from(body)).await?;
    let mut body = response.into_body();
    let mut lines = Lines::default();
    let mut whole = false;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Fault::broken_off)?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        for line in lines.push(data)? {
            if let Some(words) = line.strip_prefix(": ") {
                // What a head would have said had it not gone out before is for programs.
                match words.split_once(": ") {
                    Some(("x-troop-cost", cost)) => answer.usage.cost_micros = cost.parse().ok(),
                    Some(("x-troop-node", _)) => {}
                    _ => show.status(words),
                }
            }
            let Some(event) = line.strip_prefix("data: ") else {
                continue;
            };
            if event == "[DONE]" {
                answer.times.all = Some(start.elapsed());
                whole = true;
                continue;
            }
            let event: Value = serde_json::from_str(event).map_err(Fault::failed)?;
            if event.get("error").is_some() {
                return Err(client::fault(500, event.to_string().as_bytes()));
            }
            take(&event, start, answer, show)?;
        }
    }
    match whole {
        true => Ok(()),
        false => Err(Fault::broken_off("the stream ended before its last event")),
    }
}

fn take(
    event: &Value,
    start: Instant,
    answer: &mut Answer,
    show: &mut Show<'_>,
) -> Result<(), Fault> {
    if answer.times.begun.is_none() {
        answer.times.begun = Some(start.elapsed());
        answer.request = event["id"].as_str().unwrap_or_default().to_owned();
        show.begun(answer)?;
    }
    if let Some(usage) = event.get("usage").filter(|usage| !usage.is_null()) {
        let count = |value: &Value| value.as_u64().unwrap_or(0);
        answer.usage = Usage {
            prompt_tokens: count(&usage["prompt_tokens"]),
            cached_tokens: count(&usage["prompt_tokens_details"]["cached_tokens"]),
            completion_tokens: count(&usage["completion_tokens"]),
            ..answer.usage
        };
    }
    let choice = &event["choices"][0];
    if let Some(text) = choice["delta"]["content"]
        .as_str()
        .filter(|text| !text.is_empty())
    {
        answer.times.first.get_or_insert(start.elapsed());
        answer.text.push_str(text);
        show.text(text)?;
    }
    if let Some(finish) = choice["finish_reason"].as_str() {
        answer.finish = Some(finish.to_owned());
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

/// Bytes of one line of a stream, at most.
const LINE_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::super::super::fault::Code;
    use super::super::super::tokio;
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    /// What a node says that hears one question, answers so and hangs up.
    fn answered(answer: &str) -> (Result<(), Fault>, Answer, String) {
        let name = format!("troop-run-{}-{}", std::process::id(), answer.len());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("ctl.sock");
        let node = UnixListener::bind(&socket).unwrap();
        let answer = answer.to_owned();
        let hung_up = std::thread::spawn(move || {
            let (mut client, _) = node.accept().unwrap();
            let _ = client.read(&mut [0; 4096]).unwrap();
            client.write_all(answer.as_bytes()).unwrap();
        });
        let (mut said, mut answer) = (Vec::new(), Answer::default());
        let outcome = tokio().unwrap().block_on(ask(
            &socket,
            &Map::new(),
            &mut answer,
            &mut Show::plain(&mut said),
        ));
        hung_up.join().unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        (outcome, answer, String::from_utf8(said).unwrap())
    }

    #[test]
    fn an_answer_that_breaks_off_is_a_failure_and_what_was_said_is_kept() {
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
            (format!("HTTP/1.1 200 OK\r\n\r\n{event}"), "The sky"),
        ];
        for (sent, text) in cases {
            let (outcome, answer, said) = answered(&sent);
            let fault = outcome.expect_err(&sent);
            assert_eq!((fault.code, &fault.name[..]), (Code::Failed, "broken_off"));
            assert_eq!((&answer.text[..], &said[..]), (text, text), "{sent}");
        }
    }
}
