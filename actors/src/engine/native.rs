//! The real arithmetic and the real words: a model file, as a [`Forward`] and [`Words`].

mod fit;
mod later;
mod share;

use super::checks::invalid;
use super::desk::{Forward, Words};
use super::frames::EngineFacts;
use super::{Plan, Reads};
use crate::generate::{Failure, Prompt, Shape, Turn};
use serde_json::Value;
use std::sync::Arc;
use troop_kernels::gguf::Gguf;
use troop_kernels::grammar::{Grammar, Grammars, Wanted};
use troop_kernels::model::{self, Evaluator, Model, PageId, Pages, Want};
use troop_kernels::template::{self, Conversation, Template, TemplateError};
use troop_kernels::tokenizer::{Specials, Tokenizer};

pub use fit::Fit;
pub use later::PRIORITY_LAST;
use later::{Later, later};
pub use share::{KV_BYTES_MAX, Means, Share};
pub use troop_kernels::model::PageKind;

/// A model's forward pass, with its threads and pages.
pub struct NativeForward {
    evaluator: Evaluator,
    pages: Pages,
}

/// A model's tokenizer and chat template.
pub struct NativeWords {
    tokenizer: Arc<Tokenizer>,
    template: Option<Template>,
    /// Whether the template prints tools by itself.
    knows_tools: bool,
    /// Made beside the loading of weights, and waited for by the first who needs them: with a large vocabulary they
    /// take longer than everything else.
    grammars: Later<Grammars>,
    longest: u32,
}

/// Loads a model from the bytes of its file. The error names the field of the file, or the bytes that are
/// missing; it is for the node's status. Grammars are still being made then: what is wrong with them is told to
/// those who ask for a shape.
pub fn load(
    file: &[u8],
    means: Means,
) -> Result<(NativeForward, NativeWords, EngineFacts), String> {
    let gguf = Gguf::parse(file).map_err(|error| error.to_string())?;
    let tokenizer = Tokenizer::load(&gguf).map_err(|error| error.to_string())?;
    let template = match Template::load(&gguf, &tokenizer) {
        Ok(template) => Some(template),
        // A base model completes text; a conversation is refused when one comes.
        Err(TemplateError::Missing) => None,
        Err(error) => return Err(error.to_string()),
    };
    let tokenizer = Arc::new(tokenizer);
    let vocabulary = Arc::clone(&tokenizer);
    let grammars = move || Grammars::new(&vocabulary).map_err(|error| error.to_string());
    let grammars = later("grammars", grammars).map_err(|error| error.to_string())?;
    let step_max = fit::step_max(means);
    let fit = Fit::of(&gguf, means)?;
    let facts = fit.facts;
    if facts.vocabulary != tokenizer.vocabulary() {
        return Err(format!(
            "tokenizer.ggml.tokens: {} tokens, the embedding has {}",
            tokenizer.vocabulary(),
            facts.vocabulary
        ));
    }
    let share = fit.share?;
    let model = Model::load(&gguf, file, means.isa).map_err(|error| error.to_string())?;
    let memory = Pages::new(&facts, share.pages as usize, share.window_pages as usize);
    let memory = memory.map_err(|error| error.to_string())?;
    let evaluator = Evaluator::new(Arc::new(model), means.threads, step_max);
    let evaluator = evaluator.map_err(|error| error.to_string())?;
    let overhead = template
        .as_ref()
        .map(Template::overhead)
        .unwrap_or_default();
    let engine_facts = EngineFacts {
        context: share.context,
        sequences_max: means.sequences_max,
        overhead_fixed_bytes: overhead.fixed.into(),
        overhead_turn_bytes: overhead.per_message.into(),
        weight_bytes: facts.weight_bytes,
        pages: share.pages,
        page_bytes: facts.page_bytes,
        window: facts.window as u32,
        window_pages: share.window_pages,
        window_page_bytes: facts.window_page_bytes,
        class: class(means.page_kind, share.context),
    };
    let forward = NativeForward {
        evaluator,
        pages: memory,
    };
    let lengths = (0..tokenizer.vocabulary() as u32).map(|id| tokenizer.piece(id).len());
    let words = NativeWords {
        longest: lengths.max().unwrap_or(1) as u32,
        knows_tools: template.as_ref().is_some_and(Template::knows_tools),
        grammars,
        tokenizer,
        template,
    };
    Ok((forward, words, engine_facts))
}

impl NativeForward {
    /// Divides cores, each a list of processors, among the threads that compute.
    pub fn keep_apart(&mut self, cores: &[Vec<usize>]) {
        self.evaluator.keep_apart(cores);
    }
}

impl Forward for NativeForward {
    fn step(&mut self, plan: &Plan) -> Vec<Result<Option<Vec<f32>>, Failure>> {
        for copy in &plan.copies.whole {
            self.pages.copy(PageId(copy.from.0), PageId(copy.to.0));
        }
        for copy in &plan.copies.window {
            self.pages
                .copy_window(PageId(copy.from.0), PageId(copy.to.0));
        }
        let ids = |pages: &[super::PageId]| -> Vec<PageId> {
            pages.iter().map(|page| PageId(page.0)).collect()
        };
        let pages: Vec<[Vec<PageId>; 2]> = (plan.runs.iter())
            .map(|run| [ids(&run.pages), ids(&run.window_pages)])
            .collect();
        let runs: Vec<model::Run<'_>> = (plan.runs.iter().zip(&pages))
            .map(|(run, [pages, window_pages])| model::Run {
                tokens: &run.tokens,
                start: run.start,
                pages,
                window_pages,
                want: match run.reads {
                    Reads::Last if run.draws => Want::Logits,
                    Reads::Last => Want::Nothing,
                    Reads::Every | Reads::Drafted => Want::EveryLogits,
                    Reads::Hidden => Want::Hidden,
                },
            })
            .collect();
        let results = self.evaluator.step(&mut self.pages, &runs);
        let name = |result: Result<Vec<f32>, model::NonFinite>| match result {
            Ok(rows) => Ok((!rows.is_empty()).then_some(rows)),
            Err(error) => Err(Failure::NonFinite {
                layer: error.layer as u32,
                operation: error.operation.to_string(),
            }),
        };
        results.into_iter().map(name).collect()
    }
}

impl Words for NativeWords {
    fn prompt(
        &self,
        prompt: &Prompt,
        shape: &Shape,
        now_seconds: u64,
    ) -> Result<Vec<u32>, Failure> {
        match prompt {
            Prompt::Tokens(ids) => Ok(ids.clone()),
            Prompt::Text(text) => (self.tokenizer)
                .encode(text, Specials::Text, true)
                .map_err(|error| invalid("prompt", error.to_string())),
            Prompt::Marked {
                text,
                add_special,
                parse_special,
            } => {
                let specials = match parse_special {
                    true => Specials::Parse,
                    false => Specials::Text,
                };
                let ids = self.tokenizer.encode(text, specials, *add_special);
                ids.map_err(|error| invalid("prompt", error.to_string()))
            }
            Prompt::Chat(turns) => {
                let template = self.template.as_ref().ok_or(Failure::NoTemplate)?;
                // The assistant's last turn is begun and not over: the template is left before its end.
                let (turns, begun) = match turns.split_last() {
                    Some((last, before)) if last.role == "assistant" => (before, &*last.content),
                    _ => (&turns[..], ""),
                };
                let mut messages = turns.iter().map(message).collect::<Result<Vec<_>, _>>()?;
                let mut tools = match shape {
                    Shape::Tools(tools) => Some(json("tools", &tools.list)?),
                    Shape::Free | Shape::Object | Shape::Schema(_) => None,
                };
                let called = turns.iter().any(|turn| !turn.calls.is_empty());
                if (tools.is_some() || called) && !self.knows_tools {
                    messages = template::in_words(&messages, tools.take().as_ref());
                }
                let conversation = Conversation {
                    messages: &messages,
                    tools: tools.as_ref(),
                    now_seconds: Some(now_seconds),
                    add_generation_prompt: true,
                };
                let ids = template.prompt(&self.tokenizer, &conversation, begun);
                ids.map_err(|error| Failure::Template {
                    message: error.to_string(),
                })
            }
        }
    }

    fn grammar(&self, shape: &Shape) -> Result<Option<Grammar>, Failure> {
        let (wanted, field) = match shape {
            Shape::Free => return Ok(None),
            Shape::Object => (Wanted::Object, "response_format"),
            Shape::Schema(text) => (Wanted::Schema(text), "response_format.json_schema.schema"),
            Shape::Tools(tools) => {
                let wanted = Wanted::Calls {
                    tools: &tools.list,
                    allowed: &tools.allowed,
                    forced: tools.forced,
                    many: tools.many,
                };
                (wanted, "tools")
            }
        };
        let grammars = self.grammars.as_ref();
        let grammars = grammars.map_err(|why| {
            let why = format!("no shape can be kept to with this model's vocabulary: {why}");
            invalid(field, why)
        })?;
        let grammar = grammars.compile(wanted);
        grammar
            .map(Some)
            .map_err(|error| invalid(&place(field, &error.at), error.why))
    }

    fn piece(&self, id: u32) -> &[u8] {
        self.tokenizer.piece(id)
    }

    fn name(&self, id: u32) -> &[u8] {
        self.tokenizer.name(id)
    }

    fn is_end(&self, id: u32) -> bool {
        self.tokenizer.is_end(id)
    }

    fn vocabulary(&self) -> u32 {
        self.tokenizer.vocabulary() as u32
    }

    fn longest(&self) -> u32 {
        self.longest
    }
}

/// Where something of a field stands, as the gateway says it: `tools[0].function.name`. What is in a schema keeps
/// its JSON pointer, because its names may have any characters.
fn place(field: &str, at: &str) -> String {
    match (
        field,
        at.strip_prefix('/').and_then(|at| at.split_once('/')),
    ) {
        ("tools", Some((index, rest))) => format!("tools[{index}].{}", rest.replacen('/', ".", 1)),
        _ => format!("{field}{at}"),
    }
}

/// A turn as templates have it.
fn message(turn: &Turn) -> Result<Value, Failure> {
    let more = match turn.calls.as_str() {
        "" => Value::Null,
        calls => json("messages", calls)?,
    };
    Ok(template::tool_message(&turn.role, &turn.content, &more))
}

fn json(field: &str, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| invalid(field, error.to_string()))
}

/// The generation class: what is in it is raised by hand whenever it gives other bytes.
fn class(pages: PageKind, context: u32) -> String {
    let arithmetic = match pages {
        PageKind::F16 => "arithmetic-1",
        PageKind::Int8 => "arithmetic-1-int8",
    };
    format!("{arithmetic}/tokenizer-1/template-1/grammar-1/sampler-1/context-{context}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_page_is_a_class_of_its_own() {
        let classes = PageKind::ALL.map(|kind| class(kind, 2_048));
        assert_ne!(classes[0], classes[1]);
        assert!(classes.iter().all(|class| class.ends_with("/context-2048")));
    }

    #[test]
    fn places_are_said_as_the_gateway_says_them() {
        for (field, at, said) in [
            ("tools", "", "tools"),
            ("tools", "/1/function/name", "tools[1].function.name"),
            ("tools", "/1/type", "tools[1].type"),
            (
                "tools",
                "/0/function/parameters/properties/a~1b",
                "tools[0].function.parameters/properties/a~1b",
            ),
            ("schema", "/properties/a", "schema/properties/a"),
        ] {
            assert_eq!(place(field, at), said);
        }
    }
}
