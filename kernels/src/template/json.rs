//! JSON as Python's `json.dumps` writes it, for that is what models have seen in training.

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind};
use serde::Deserialize;

use super::mark::is_mark;

/// `json.dumps(value, ensure_ascii=False, indent=…, separators=…, sort_keys=…)`.
pub(super) fn dumps(value: &Value, options: &Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let ensure_ascii = options
        .get::<Option<bool>>("ensure_ascii")?
        .unwrap_or(false);
    options.assert_all_used()?;
    let json = serde_json::Value::deserialize(value.clone())?;
    if !is_shallow(&json) {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "tojson: nested above 64 deep",
        ));
    }
    let (item, pair) = match separators.as_deref() {
        Some([item, pair]) => (item.clone(), pair.clone()),
        Some(_) => {
            let why = "tojson: separators must be two strings";
            return Err(Error::new(ErrorKind::InvalidOperation, why));
        }
        None if indent.is_some() => (",".into(), ": ".into()),
        None => (", ".into(), ": ".into()),
    };
    let indent = indent.map(|width| width.min(16));
    let mut writer = Writer {
        text: String::new(),
        indent,
        item,
        pair,
        sort_keys,
        ensure_ascii,
    };
    writer.value(&json, 0);
    Ok(Value::from_safe_string(writer.text))
}

/// Whether nothing nests above 64 deep, so that walking it by recursion is safe.
pub(super) fn is_shallow(value: &serde_json::Value) -> bool {
    fn within(value: &serde_json::Value, levels: u32) -> bool {
        match value {
            _ if levels == 0 => false,
            serde_json::Value::Array(values) => values.iter().all(|one| within(one, levels - 1)),
            serde_json::Value::Object(fields) => fields.values().all(|one| within(one, levels - 1)),
            _ => true,
        }
    }
    within(value, 65)
}

struct Writer {
    text: String,
    indent: Option<usize>,
    item: String,
    pair: String,
    sort_keys: bool,
    ensure_ascii: bool,
}

impl Writer {
    fn value(&mut self, value: &serde_json::Value, level: usize) {
        match value {
            serde_json::Value::Null => self.text.push_str("null"),
            serde_json::Value::Bool(true) => self.text.push_str("true"),
            serde_json::Value::Bool(false) => self.text.push_str("false"),
            serde_json::Value::Number(number) => self.number(number),
            serde_json::Value::String(text) => self.string(text),
            serde_json::Value::Array(values) => {
                self.list('[', ']', level, values.iter(), |writer, value| {
                    writer.value(value, level + 1);
                });
            }
            serde_json::Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                if self.sort_keys {
                    fields.sort_by(|left, right| left.0.cmp(right.0));
                }
                self.list(
                    '{',
                    '}',
                    level,
                    fields.into_iter(),
                    |writer, (key, value)| {
                        writer.string(key);
                        let pair = writer.pair.clone();
                        writer.text.push_str(&pair);
                        writer.value(value, level + 1);
                    },
                );
            }
        }
    }

    fn list<T>(
        &mut self,
        open: char,
        close: char,
        level: usize,
        mut values: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.text.push(open);
        let empty = values.len() == 0;
        for (index, value) in values.by_ref().enumerate() {
            if index > 0 {
                let item = self.item.clone();
                self.text.push_str(&item);
            }
            self.line(level + 1);
            write(self, value);
        }
        if !empty {
            self.line(level);
        }
        self.text.push(close);
    }

    fn line(&mut self, level: usize) {
        if let Some(width) = self.indent {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n(' ', width * level));
        }
    }

    /// Python writes exponents with a sign and at least two digits.
    fn number(&mut self, number: &serde_json::Number) {
        let text = number.to_string();
        match text.split_once('e').filter(|_| number.is_f64()) {
            Some((mantissa, exponent)) => {
                let (sign, digits) = match exponent.strip_prefix('-') {
                    Some(digits) => ('-', digits),
                    None => ('+', exponent.trim_start_matches('+')),
                };
                self.text
                    .push_str(&format!("{mantissa}e{sign}{digits:0>2}"));
            }
            None => self.text.push_str(&text),
        }
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                _ if (character as u32) < 0x20
                    || (self.ensure_ascii && !character.is_ascii() && !is_mark(character)) =>
                {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        self.text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
    }
}
