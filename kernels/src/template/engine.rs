//! What a template runs in: Python's ways, few steps, little text.

use std::io;

use minijinja::machinery::{Token, tokenize};
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, ErrorKind, syntax::SyntaxConfig};

use super::{TemplateError, json};

/// What a template runs in, with the template in it.
pub(super) fn environment(source: &str) -> Result<Environment<'static>, TemplateError> {
    let invalid = |error: minijinja::Error| TemplateError::Invalid {
        why: error.to_string(),
    };
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    let syntax = syntax.build().map_err(invalid)?;
    environment.set_syntax(syntax.clone());
    environment.set_recursion_limit(RECURSION_MAX);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", |value: Value, options: Kwargs| {
        json::dumps(&value, &options)
    });
    environment.add_function(
        "raise_exception",
        |why: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, why))
        },
    );
    let source = without_generation_tags(source);
    is_shallow(&source, syntax)?;
    // The parser still goes down a thousand levels, and a level takes a kilobyte or two.
    std::thread::scope(|scope| {
        let parse = || {
            environment
                .add_template_owned(NAME, source)
                .map_err(invalid)
        };
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        match thread.spawn_scoped(scope, parse) {
            Ok(thread) => thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => Err(TemplateError::Invalid {
                why: format!("cannot start a thread to parse it: {error}"),
            }),
        }
    })?;
    Ok(environment)
}

/// The parser goes down once for every operator of a chain like `x~x~x…` and every `elif`, without a limit
/// of its own, and tries at each level to compute what is below. So both are counted before it begins.
fn is_shallow(source: &str, syntax: SyntaxConfig) -> Result<(), TemplateError> {
    let (mut in_tag, mut branches) = (0, 0);
    for token in tokenize(source, false, syntax) {
        // What is no token is an error of the parser too, which says it better.
        let Ok((token, _)) = token else { break };
        match token {
            Token::VariableStart | Token::BlockStart => in_tag = 0,
            Token::Ident("elif") => branches += 1,
            _ => in_tag += 1,
        }
        for (count, what, limit) in [
            (in_tag, "words in a tag", TAG_TOKENS_MAX),
            (branches, "branches by elif", BRANCHES_MAX),
        ] {
            if count > limit {
                return Err(TemplateError::TooMuch { what, limit });
            }
        }
    }
    Ok(())
}

/// `{% generation %}` marks training data and means nothing here; minijinja does not know it.
fn without_generation_tags(source: &str) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let inner = &rest[start + 2..start + length];
        let (open, word) = match inner.strip_prefix(['-', '+']) {
            Some(word) => (&inner[..1], word),
            None => ("", inner),
        };
        let (close, word) = match word.strip_suffix(['-', '+']) {
            Some(bare) => (&word[word.len() - 1..], bare),
            None => ("", word),
        };
        kept.push_str(&rest[..start]);
        match word.trim() {
            "generation" => kept.push_str(&format!("{{%{open} if true {close}%}}")),
            "endgeneration" => kept.push_str(&format!("{{%{open} endif {close}%}}")),
            _ => kept.push_str(&rest[start..start + length + 2]),
        }
        rest = &rest[start + length + 2..];
    }
    kept.push_str(rest);
    kept
}

pub(super) fn refused(error: minijinja::Error, fuel: u64) -> TemplateError {
    match error.kind() {
        ErrorKind::OutOfFuel => TemplateError::TooMuch {
            what: "steps",
            limit: fuel,
        },
        _ => {
            // The detail is what `raise_exception` was given; it may quote messages, so it is cut short.
            let why = error
                .detail()
                .map_or_else(|| error.to_string(), str::to_owned);
            TemplateError::Refused {
                why: why.chars().take(300).collect(),
            }
        }
    }
}

/// Takes bytes up to a limit.
pub(super) struct Limited {
    pub(super) bytes: Vec<u8>,
    pub(super) full: bool,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > RENDERED_BYTES_MAX {
            self.full = true;
            return Err(io::Error::other("too much text"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The longest tags in use have some hundred.
const TAG_TOKENS_MAX: u64 = 1000;
/// The templates with the most roles have some dozen.
const BRANCHES_MAX: u64 = 500;
/// Pages that are not reached take no memory.
const STACK_BYTES: usize = 16 << 20;
/// The template's name in its environment.
pub(super) const NAME: &str = "chat";
/// As much as the tokenizer takes.
pub(super) const RENDERED_BYTES_MAX: usize = 4 << 20;
/// Macros of templates nest two or three deep.
const RECURSION_MAX: usize = 60;
