//! Output with a shape: which tokens may come next so that an answer becomes what was asked for.
//!
//! A request may want JSON, JSON of a schema, or calls of tools. Each is compiled once into a grammar of
//! bytes, by llguidance; what a model may say next is then the set of tokens whose bytes the grammar allows,
//! and an end token where it is satisfied. The set is a function of the tokens so far and of nothing else:
//! whoever tells a [`Matcher`] the same tokens again, elsewhere and later, is given the same set.
//!
//! ```text
//! schema ──check: every keyword known, by name──> grammar ──begin──> Matcher ──mask──> sampler
//!                                                                      └──<──accept──<──┘
//! ```
//!
//! A small model left to itself fills what a grammar leaves open with digits and blank lines until its
//! tokens run out. So between two things at most a space may stand, a number ends after [`DIGITS_MAX`] digits
//! in a row where it can, and what a schema leaves open is closed (grammar/schema.rs): fewer documents come, and
//! all are what was asked for. A string without a `maxLength` may still go on until the tokens run out.
//!
//! Bounded: bytes, depth and parts of a schema, the work to compile it, the work of one mask, and the states
//! a grammar may have. This file refuses keywords that it would have to ignore, and tokens of control.

mod call;
mod digits;
mod schema;
mod tools;
mod vocabulary;

use llguidance::api::{GrammarWithLexer, ParserLimits, TopLevelGrammar};
use llguidance::toktrie::InferenceCapabilities;
use llguidance::{Matcher as Inner, ParserFactory};
use serde_json::Value;
use thiserror::Error;

use crate::tokenizer::Tokenizer;
use call::Watch;
pub use call::{CALL_ARGUMENTS, CALL_CLOSE, CALL_NAME, CALL_OPEN, CALLS_MAX};
pub use digits::DIGITS_MAX;
use digits::Digits;
pub use tools::{Tool, tools};

/// What an answer is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// A JSON object.
    Object,
    /// JSON that a schema, given as its text, calls valid.
    Schema(&'a str),
    /// Calls of tools, and before them or instead of them text, unless they are forced.
    Calls {
        /// The tools, as in the API, given as their text.
        tools: &'a str,
        /// The names of those that may be called; all, if there are none.
        allowed: &'a [String],
        /// Whether there is to be a call and nothing else.
        forced: bool,
        /// Whether there may be more than one.
        many: bool,
    },
}

/// Why there is no grammar, or why it cannot go on. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{at}: {why}")]
pub struct GrammarError {
    /// Where in what was given, as a JSON pointer.
    pub at: String,
    /// What is wrong there.
    pub why: String,
}

/// Compiles grammars over one vocabulary.
pub struct Grammars {
    factory: ParserFactory,
}

/// A compiled grammar.
#[derive(Clone)]
pub struct Grammar {
    inner: Inner,
    /// Whether text is free until a call begins.
    watch: Option<Watch>,
}

/// Where one answer is in its grammar.
#[derive(Clone)]
pub struct Matcher {
    grammar: Grammar,
    stage: Stage,
}

#[derive(Clone)]
enum Stage {
    /// Text, in which a call may begin.
    Text(Watch),
    /// Inside of what the grammar describes.
    Shaped { inner: Box<Inner>, digits: Digits },
    /// Nothing may follow.
    Over,
}

impl Grammars {
    /// For the vocabulary of this tokenizer.
    pub fn new(tokenizer: &Tokenizer) -> Result<Grammars, GrammarError> {
        let environment = vocabulary::environment(tokenizer);
        // The tokens that fit into any string, found once instead of at every step.
        let slices = llguidance::earley::SlicedBiasComputer::json_slices();
        let slices: Vec<String> = slices.into_iter().last().into_iter().collect();
        let capabilities = InferenceCapabilities::default();
        let factory = ParserFactory::new(&environment, capabilities, &slices);
        let mut factory = factory.map_err(|error| GrammarError::new("", error))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Grammars { factory })
    }

    /// The grammar of what is wanted.
    pub fn compile(&self, wanted: Wanted<'_>) -> Result<Grammar, GrammarError> {
        match wanted {
            Wanted::Object => self.json(serde_json::json!({ "type": "object" })),
            Wanted::Schema(text) => {
                let schema = schema::parse(text)?;
                self.json(schema::check(&schema, "")?)
            }
            Wanted::Calls {
                tools,
                allowed,
                forced,
                many,
            } => self.calls(&tools::tools(tools)?, allowed, forced, many),
        }
    }

    fn json(&self, schema: Value) -> Result<Grammar, GrammarError> {
        let grammar = TopLevelGrammar::from_json_schema(schema::spaced(schema.clone()));
        let inner = self
            .begin(grammar)
            .map_err(|why| self.blame(&schema, "", why))?;
        Ok(Grammar { inner, watch: None })
    }

    fn calls(
        &self,
        tools: &[Tool],
        allowed: &[String],
        forced: bool,
        many: bool,
    ) -> Result<Grammar, GrammarError> {
        let may = |tool: &&Tool| allowed.is_empty() || allowed.contains(&tool.name);
        let chosen: Vec<&Tool> = tools.iter().filter(may).collect();
        if chosen.is_empty() {
            return Err(GrammarError::new("", "none of the tools may be called"));
        }
        let calls = if forced && many { CALLS_MAX } else { 1 };
        let lark = call::lark(chosen.iter().map(|tool| tool.name.as_str()), calls);
        let mut grammars = vec![GrammarWithLexer::from_lark(lark)];
        for (index, tool) in chosen.iter().enumerate() {
            let schema = schema::spaced(tool.parameters.clone());
            grammars.push(GrammarWithLexer {
                name: Some(call::part(index)),
                ..GrammarWithLexer::from_json_schema(schema)
            });
        }
        let grammar = TopLevelGrammar {
            grammars,
            max_tokens: None,
        };
        let inner = self.begin(grammar).map_err(|why| {
            let mut tried = chosen.iter().filter(|_| !outgrown(&why));
            let blamed = tried.find_map(|tool| {
                let alone = TopLevelGrammar::from_json_schema(tool.parameters.clone());
                let why = self.begin(alone).err()?;
                Some(self.blame(&tool.parameters, &tool.at, why))
            });
            blamed.unwrap_or_else(|| GrammarError::new("", why))
        })?;
        let watch = (!forced).then(|| Watch::new(many));
        Ok(Grammar { inner, watch })
    }

    fn begin(&self, grammar: TopLevelGrammar) -> Result<Inner, String> {
        let inner = Inner::new(self.factory.create_parser(grammar));
        match inner.get_error() {
            None => Ok(inner),
            Some(why) => Err(why),
        }
    }

    /// The innermost part of a schema that does not compile by itself. What is too large as a whole is not looked
    /// for: each part that is tried may be as much work again.
    fn blame(&self, schema: &Value, at: &str, why: String) -> GrammarError {
        if outgrown(&why) {
            return GrammarError::new(at, why);
        }
        for pointer in schema::parts(schema).into_iter().take(BLAMED_MAX) {
            if let Some(part) = schema::part(schema, &pointer)
                && let Err(why) = self.begin(TopLevelGrammar::from_json_schema(part))
            {
                return GrammarError::new(format!("{at}{pointer}"), why);
            }
        }
        GrammarError::new(at, why)
    }
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Grammars").finish_non_exhaustive()
    }
}

impl Grammar {
    /// A matcher at the beginning of an answer.
    pub fn begin(&self) -> Matcher {
        let stage = match &self.watch {
            Some(watch) => Stage::Text(watch.clone()),
            None => self.shaped(),
        };
        Matcher {
            grammar: self.clone(),
            stage,
        }
    }

    fn shaped(&self) -> Stage {
        Stage::Shaped {
            inner: Box::new(self.inner.clone()),
            digits: Digits::default(),
        }
    }
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Grammar").finish_non_exhaustive()
    }
}

impl Matcher {
    /// A bit for every token, set where it may come next; nothing where all may.
    pub fn mask(&mut self) -> Result<Option<Vec<u32>>, GrammarError> {
        match &mut self.stage {
            Stage::Text(_) => Ok(None),
            Stage::Shaped { inner, digits } => {
                let environment = inner.tok_env().map_err(|error| late(&error))?;
                let allowed = inner.compute_mask_or_eos().map_err(|error| late(&error))?;
                let mut mask = allowed.as_slice().to_vec();
                digits.limit(&mut mask, environment.tok_trie());
                Ok(Some(mask))
            }
            Stage::Over => Err(GrammarError::new("", "the answer is complete")),
        }
    }

    /// Takes note of the next token, which is not an end token. An error if it may not come next.
    pub fn accept(&mut self, id: u32) -> Result<(), GrammarError> {
        let environment = self.grammar.inner.tok_env().map_err(|error| late(&error))?;
        let trie = environment.tok_trie();
        let bytes = trie.token(id);
        match &mut self.stage {
            Stage::Text(watch) => {
                let Some(begun) = watch.push(bytes) else {
                    return Ok(());
                };
                // What was drawn freely may have begun a call that cannot be: then it was text.
                let mut inner = Box::new(self.grammar.inner.clone());
                let ids = trie.greedy_tokenize(&begun);
                if inner.consume_tokens(&ids).is_ok() {
                    let mut digits = Digits::default();
                    digits.push(&begun);
                    self.stage = Stage::Shaped { inner, digits };
                    self.turn();
                }
                Ok(())
            }
            Stage::Shaped { inner, digits } => {
                inner.consume_token(id).map_err(|error| late(&error))?;
                digits.push(bytes);
                self.turn();
                Ok(())
            }
            Stage::Over => Err(GrammarError::new("", "the answer is complete")),
        }
    }

    /// Whether the answer may end here.
    pub fn may_end(&mut self) -> bool {
        match &mut self.stage {
            Stage::Text(_) | Stage::Over => true,
            Stage::Shaped { inner, .. } => inner.is_accepting().unwrap_or(false),
        }
    }

    /// Whether the answer is complete and nothing but an end token may follow.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Leaves what is complete: for text, where another call may come, or for the end.
    fn turn(&mut self) {
        let Stage::Shaped { inner, digits } = &mut self.stage else {
            return;
        };
        let closed = digits.closed() && inner.is_accepting().unwrap_or(false);
        if closed || inner.is_stopped() && !inner.is_error() {
            self.stage = match &self.grammar.watch {
                Some(watch) if watch.many => Stage::Text(watch.clone()),
                _ => Stage::Over,
            };
        }
    }
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Matcher").finish_non_exhaustive()
    }
}

impl GrammarError {
    fn new(at: impl Into<String>, why: impl std::fmt::Display) -> GrammarError {
        // The first line says what it is about, and of a regular expression another one what is wrong. The
        // rest is about the library.
        let why = why.to_string();
        let first = why.lines().next();
        let rest = why.lines().skip(1).find(|line| line.starts_with("error:"));
        let lines: Vec<&str> = first.into_iter().chain(rest).collect();
        let mut at = at.into();
        if at.len() > AT_BYTES_MAX {
            let cut = (0..=AT_BYTES_MAX)
                .rev()
                .find(|at_most| at.is_char_boundary(*at_most));
            at.truncate(cut.unwrap_or(0));
            at.push('…');
        }
        GrammarError {
            at,
            why: lines.join(" ").chars().take(WHY_MAX).collect(),
        }
    }
}

/// Whether a grammar was given up for its size or its work.
fn outgrown(why: &str) -> bool {
    ["too large", "too big", "fuel exhausted"]
        .iter()
        .any(|words| why.contains(words))
}

/// An error that comes while an answer is made: of a token that may not come, or of too much work.
fn late(error: &dyn std::fmt::Display) -> GrammarError {
    match error.to_string() {
        why if why.contains("NoExtensionBias") => {
            GrammarError::new("", "nothing can be valid by it")
        }
        why => GrammarError::new("", why),
    }
}

/// A mask's work is some milliseconds, twenty at most; a grammar's memory some ten megabytes.
fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 1_000,
        initial_lexer_fuel: 500_000,
        step_lexer_fuel: 200_000,
        step_max_items: 5_000,
        max_lexer_states: 10_000,
        max_grammar_size: 40_000,
        precompute_large_lexemes: false,
        verbose_errors: false,
    }
}

/// Parts of a schema that are tried alone to find the one to blame.
const BLAMED_MAX: usize = 32;
/// Bytes of a place in a reason.
const AT_BYTES_MAX: usize = 300;
/// Characters of a reason.
const WHY_MAX: usize = 300;
