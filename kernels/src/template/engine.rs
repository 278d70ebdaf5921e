//! What a template runs in: Python's ways, few steps, little text.

use std::io;

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
    environment.set_syntax(syntax.build().map_err(invalid)?);
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
    environment
        .add_template_owned(NAME, without_generation_tags(source))
        .map_err(invalid)?;
    Ok(environment)
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

/// The template's name in its environment.
pub(super) const NAME: &str = "chat";
/// As much as the tokenizer takes.
pub(super) const RENDERED_BYTES_MAX: usize = 4 << 20;
/// Macros of templates nest two or three deep.
const RECURSION_MAX: usize = 60;
