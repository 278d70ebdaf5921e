//! What a session went through, as its own node saw it, for whoever asks afterwards.

use super::fault::{Fault, Loss};
use super::protocol::{Delivery, Input, Order};
use crate::contract::Time;
use crate::generate::Event;
use crate::ids::{AttemptId, MemberId, NodeId, Passport, RequestId};
use crate::shelf::Shelf;

/// One request's way. Times are those of this node's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// The request.
    pub request: RequestId,
    /// Who pays.
    pub payer: MemberId,
    /// The model.
    pub model: Passport,
    /// When it began.
    pub began: Time,
    /// Its attempts, in order.
    pub attempts: Vec<Attempt>,
    /// When its first token came.
    pub first: Option<Time>,
    /// How it ended, if it has.
    pub ending: Option<Ending>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which.
    pub attempt: AttemptId,
    /// The worker it was given to.
    pub worker: NodeId,
    /// When it was begun with its ticket.
    pub granted: Time,
    /// When the worker had begun.
    pub started: Option<Time>,
    /// When and why it was given up, which says whose fault it was.
    pub lost: Option<(Time, Loss)>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When.
    pub at: Time,
    /// Tokens of its prompt, of them in the worker's memory, and of its answer; or what went wrong, and whose
    /// fault it was.
    pub outcome: Result<(u32, u32, u32), (String, Fault)>,
}

impl Story {
    /// The story of `order`, which begins.
    pub fn new(now: Time, order: &Order) -> Story {
        Story {
            request: order.request,
            payer: order.payer,
            model: order.generate.model,
            began: now,
            attempts: Vec::new(),
            first: None,
            ending: None,
        }
    }

    /// The worker of the present attempt, or of the last one.
    pub fn worker(&self) -> Option<NodeId> {
        self.attempts.last().map(|attempt| attempt.worker)
    }

    fn attempt(&mut self, id: AttemptId) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|it| it.attempt == id)
    }

    /// Something happened to the session. Whether it is worth telling.
    pub fn hear(&mut self, now: Time, input: &Input) -> bool {
        match input {
            Input::Event { attempt, event } => {
                let drawn = matches!(event, Event::Token { .. } | Event::Embedded { .. });
                let first = drawn && self.first.is_none();
                let Some(attempt) = self.attempt(*attempt) else {
                    return false;
                };
                let begins = matches!(event, Event::Started { .. }) && attempt.started.is_none();
                if begins {
                    attempt.started = Some(now);
                }
                if first {
                    self.first = Some(now);
                }
                begins || first
            }
            Input::HangUp if self.ending.is_none() => {
                let outcome = Err(("the client hung up".to_owned(), Fault::Client));
                self.ending = Some(Ending { at: now, outcome });
                true
            }
            _ => false,
        }
    }

    /// An attempt was begun at a worker; a ticket that only stands by begins nothing. Whether that is new.
    pub fn begin(&mut self, now: Time, attempt: AttemptId, worker: NodeId) -> bool {
        let new = self.attempt(attempt).is_none() && self.attempts.len() < ATTEMPTS_MAX;
        if new {
            self.attempts.push(Attempt {
                attempt,
                worker,
                granted: now,
                started: None,
                lost: None,
            });
        }
        new
    }

    /// An attempt was given up: its worker, if that is new.
    pub fn lose(&mut self, now: Time, attempt: AttemptId, loss: &Loss) -> Option<NodeId> {
        let attempt = self.attempt(attempt)?;
        if attempt.lost.is_some() {
            return None;
        }
        attempt.lost = Some((now, loss.clone()));
        Some(attempt.worker)
    }

    /// The client was told something. Whether it is worth telling others.
    pub fn tell(&mut self, now: Time, delivery: &Delivery) -> bool {
        let outcome = match delivery {
            Delivery::Done {
                prompt_tokens,
                reused_tokens,
                completion_tokens,
            } => Ok((*prompt_tokens, *reused_tokens, *completion_tokens)),
            Delivery::Failed(trouble) => {
                let lost = self.attempts.iter().rev().find_map(|it| it.lost.as_ref());
                let fault = trouble.fault(lost.map(|(_, loss)| loss.fault()));
                Err((trouble.to_string(), fault))
            }
            _ => return false,
        };
        self.ending.get_or_insert(Ending { at: now, outcome });
        true
    }
}

/// The stories of the last sessions of this node, those that are open included.
#[derive(Clone, Debug)]
pub struct Stories(Shelf<RequestId, Story>);

impl Default for Stories {
    fn default() -> Stories {
        Stories(Shelf::new(STORIES_MAX))
    }
}

impl Stories {
    /// Keeps what is known of a request by now.
    pub fn keep(&mut self, story: &Story) {
        self.0.put(story.request, story.clone());
    }

    /// What is known of a request.
    pub fn about(&self, request: RequestId) -> Option<&Story> {
        self.0.get(&request)
    }
}

/// Sessions of one node that are remembered.
pub const STORIES_MAX: usize = 1024;
/// Attempts of one that are: more than it makes.
const ATTEMPTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Generate, Prompt};

    #[test]
    fn an_attempt_is_told_of_once_it_is_begun() {
        let order = Order {
            request: RequestId([1; 16]),
            payer: MemberId([2; 16]),
            generate: Generate::new(Passport([3; 32]), Prompt::Text("hi".to_owned())),
        };
        let mut story = Story::new(Time(0), &order);
        let (first, second) = (AttemptId([4; 16]), AttemptId([5; 16]));
        assert!(story.begin(Time(1), first, NodeId([6; 32])));
        assert!(!story.begin(Time(2), first, NodeId([6; 32])));
        assert_eq!(story.lose(Time(3), second, &Loss::Stuck), None);
        let lost = story.lose(Time(3), first, &Loss::Silent);
        assert_eq!(lost, Some(NodeId([6; 32])));
        assert!(story.begin(Time(3), second, NodeId([7; 32])));
        assert_eq!(story.worker(), Some(NodeId([7; 32])));
        assert_eq!(story.attempts.len(), 2);
    }
}
