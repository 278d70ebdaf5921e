//! What a client gets is a prefix of the one right answer, and all of it when it is told that it is done.
//!
//! The right answer of a request is known before it is asked, because an answer depends on nothing else. So
//! a token left out, doubled, or taken from somebody else's stream is seen at once, however many workers
//! died on the way.

use super::{Verdict, require};
use std::collections::BTreeMap;
use troop_actors::generate::{Finish, Vector};
use troop_actors::ids::{Digest, RequestId};
use troop_actors::receipt::Receipt;
use troop_actors::session::protocol::{Delivery, Told};

/// The right answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// Tokens of its prompt.
    pub prompt_tokens: u32,
    /// What is told back of it.
    pub echo: RightEcho,
    /// Its vector, if that is what was wanted.
    pub vector: Option<Vector>,
    /// For each choice, in order.
    pub choices: Vec<RightChoice>,
    /// The hash of prompt and choices that both sides sign.
    pub transcript: Digest,
}

/// A prompt, told back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RightEcho {
    /// Its text.
    pub text: String,
    /// Its tokens, if the client asked how likely they were.
    pub told: Vec<Told>,
}

/// One choice of the right answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RightChoice {
    /// Its tokens.
    pub tokens: u32,
    /// Its text, as a client sees it.
    pub text: String,
    /// The tokens of that text, if the client asked how likely they were.
    pub told: Vec<Told>,
    /// How it ends.
    pub finish: Finish,
}

/// What clients got, beside what they should get.
#[derive(Debug, Default)]
pub struct Streams {
    requests: BTreeMap<RequestId, Stream>,
}

#[derive(Debug)]
struct Stream {
    right: Right,
    echoed: (usize, usize),
    embedded: bool,
    got: Vec<usize>,
    told: Vec<usize>,
    ended: Vec<bool>,
    done: bool,
}

impl Streams {
    /// A request is about to be made, and this is its answer.
    pub fn expect(&mut self, request: RequestId, right: Right) {
        let choices = right.choices.len();
        let stream = Stream {
            right,
            echoed: (0, 0),
            embedded: false,
            got: vec![0; choices],
            told: vec![0; choices],
            ended: vec![false; choices],
            done: false,
        };
        self.requests.insert(request, stream);
    }

    /// A client is handed something. `hung_up` says that it had gone.
    pub fn delivered(&mut self, request: RequestId, delivery: &Delivery, hung_up: bool) -> Verdict {
        const NAME: &str = "prefix-consistent stream";
        let stream = self.requests.get_mut(&request);
        require(stream.is_some(), NAME, || {
            format!("{request:?} was never made")
        })?;
        let stream = stream.expect("required above");
        match delivery {
            Delivery::Waiting { .. } => Ok(()),
            Delivery::Started { prompt_tokens, .. } => {
                require(*prompt_tokens == stream.right.prompt_tokens, NAME, || {
                    format!(
                        "{request:?} has a prompt of {} tokens, was told {prompt_tokens}",
                        stream.right.prompt_tokens
                    )
                })
            }
            Delivery::Echo { text, tokens } => {
                let (at, told) = stream.echoed;
                let echo = &stream.right.echo;
                let right =
                    echo.text[at..].starts_with(text) && echo.told[told..].starts_with(tokens);
                let first = stream.got.iter().chain(&stream.told).all(|got| *got == 0);
                require(right && first, NAME, || {
                    format!("{request:?} is told back {text:?} of its prompt at byte {at}")
                })?;
                stream.echoed = (at + text.len(), told + tokens.len());
                Ok(())
            }
            Delivery::Embedding { vector } => {
                let first = !std::mem::replace(&mut stream.embedded, true);
                let right = stream.right.vector.as_ref() == Some(vector);
                require(first && right, NAME, || {
                    format!("{request:?} gets a vector that is not its own, or gets it twice")
                })
            }
            Delivery::Call { .. } | Delivery::Arguments { .. } => require(false, NAME, || {
                format!("{request:?} has no tools, and calls one")
            }),
            Delivery::Text {
                choice,
                text,
                tokens,
            } => {
                let index = *choice as usize;
                require(
                    index < stream.got.len() && !stream.ended[index],
                    NAME,
                    || {
                        format!(
                            "{request:?} gets text for choice {choice}, which is over or unknown"
                        )
                    },
                )?;
                let whole = &stream.right.choices[index].text;
                let at = stream.got[index];
                require(whole[at..].starts_with(text.as_str()), NAME, || {
                    format!(
                        "{request:?} choice {choice} at byte {at}: {text:?} where {:?} is right",
                        whole[at..].chars().take(40).collect::<String>()
                    )
                })?;
                stream.got[index] = at + text.len();
                let (whole, at) = (&stream.right.choices[index].told, stream.told[index]);
                require(whole[at..].starts_with(tokens), NAME, || {
                    format!("{request:?} choice {choice} is told wrong odds at token {at}")
                })?;
                stream.told[index] = at + tokens.len();
                Ok(())
            }
            Delivery::Ended { choice, finish } => {
                let index = *choice as usize;
                require(
                    index < stream.got.len() && !stream.ended[index],
                    NAME,
                    || format!("{request:?} choice {choice} ends twice, or is unknown"),
                )?;
                stream.ended[index] = true;
                if *finish == Finish::Cancelled {
                    return require(hung_up, NAME, || {
                        format!("{request:?} was cancelled, nobody hung up")
                    });
                }
                let echo = &stream.right.echo;
                let whole = stream.echoed == (echo.text.len(), echo.told.len())
                    && stream.embedded == stream.right.vector.is_some();
                require(whole, NAME, || {
                    format!("{request:?} ends before its prompt was told back or made a vector")
                })?;
                let right = &stream.right.choices[index];
                require(stream.told[index] == right.told.len(), NAME, || {
                    format!("{request:?} choice {choice} ends before all its odds are told")
                })?;
                require(stream.got[index] == right.text.len(), NAME, || {
                    format!(
                        "{request:?} choice {choice} ends after {} of {} bytes",
                        stream.got[index],
                        right.text.len()
                    )
                })?;
                require(*finish == right.finish, NAME, || {
                    format!(
                        "{request:?} choice {choice} ends with {finish:?}, {:?} is right",
                        right.finish
                    )
                })
            }
            Delivery::Done {
                prompt_tokens,
                completion_tokens,
                reused_tokens: _,
            } => {
                require(stream.ended.iter().all(|ended| *ended), NAME, || {
                    format!("{request:?} is done before all its choices")
                })?;
                if hung_up {
                    return Ok(());
                }
                stream.done = true;
                let tokens: u32 = stream.right.choices.iter().map(|right| right.tokens).sum();
                require(
                    *prompt_tokens == stream.right.prompt_tokens && *completion_tokens == tokens,
                    "tokens are counted once",
                    || {
                        format!(
                            "{request:?} counts {prompt_tokens} and {completion_tokens} tokens, \
                             {} and {tokens} are right",
                            stream.right.prompt_tokens
                        )
                    },
                )
            }
            Delivery::Failed(_) => Ok(()),
        }
    }

    /// Both sides have signed. For a request that is done it is exactly the right answer.
    pub fn signed(&self, receipt: &Receipt) -> Verdict {
        self.counted(receipt)?;
        let done = self.requests.get(&receipt.request);
        let done = done.filter(|stream| stream.done);
        require(
            done.is_none_or(|stream| receipt.tally.transcript == stream.right.transcript),
            "what is signed is what was delivered",
            || format!("{:?} is signed for other ids", receipt.request),
        )
    }

    /// What is paid for is never more than the right answer has (L13).
    pub fn counted(&self, receipt: &Receipt) -> Verdict {
        let Some(stream) = self.requests.get(&receipt.request) else {
            return require(false, "tokens are counted once", || {
                format!("{:?} was signed for and never made", receipt.request)
            });
        };
        let tokens: u32 = stream.right.choices.iter().map(|right| right.tokens).sum();
        require(
            receipt.tally.completion_tokens <= tokens
                && receipt.tally.prompt_tokens <= stream.right.prompt_tokens,
            "L13 canonical-tokens",
            || {
                format!(
                    "{:?} is signed for {:?}, the right answer has {} and {tokens} tokens",
                    receipt.request, receipt.tally, stream.right.prompt_tokens
                )
            },
        )
    }
}
