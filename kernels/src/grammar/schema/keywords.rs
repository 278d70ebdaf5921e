//! The keywords of JSON Schema, and what their values must be.

use serde_json::{Map, Value};

/// What a keyword is to a grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its value is a schema.
    Schema,
    /// An array of schemas.
    Schemas,
    /// Schemas by name.
    Named,
    /// Schemas by name that count only where something refers to them.
    Definitions,
    /// A reference to a schema.
    Reference,
    /// A type or several.
    Type,
    /// Any value that is allowed.
    Constant,
    /// The values that are allowed.
    Enumeration,
    /// A number that bounds numbers.
    Number,
    /// A number that counts.
    Count,
    /// Names.
    Names,
    /// A regular expression.
    Pattern,
    /// The name of a syntax.
    Format,
    /// It changes nothing where it is false.
    False,
    /// It would change what is valid, and is not understood.
    Refused,
    /// It changes nothing.
    Nothing,
}

/// What a keyword is.
pub(super) fn kind(keyword: &str) -> Kind {
    match keyword {
        "additionalProperties" | "items" => Kind::Schema,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Kind::Schemas,
        "properties" | "patternProperties" => Kind::Named,
        "$defs" | "definitions" => Kind::Definitions,
        "$ref" => Kind::Reference,
        "type" => Kind::Type,
        "const" => Kind::Constant,
        "enum" => Kind::Enumeration,
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
            Kind::Number
        }
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
            Kind::Count
        }
        "required" => Kind::Names,
        "pattern" => Kind::Pattern,
        "format" => Kind::Format,
        "uniqueItems" | "nullable" => Kind::False,
        "not"
        | "if"
        | "then"
        | "else"
        | "contains"
        | "minContains"
        | "maxContains"
        | "propertyNames"
        | "dependencies"
        | "dependentRequired"
        | "dependentSchemas"
        | "unevaluatedItems"
        | "unevaluatedProperties"
        | "additionalItems"
        | "$dynamicRef"
        | "$recursiveRef"
        | "x-guidance" => Kind::Refused,
        _ => Kind::Nothing,
    }
}

/// Whether several things are said of the same value, so that a grammar has to say all of them at once.
pub(super) fn combined(map: &Map<String, Value>) -> bool {
    let counts = |keyword: &&String| !matches!(kind(keyword), Kind::Nothing | Kind::Definitions);
    map.contains_key("allOf")
        || ["anyOf", "oneOf", "$ref"]
            .iter()
            .any(|keyword| map.contains_key(*keyword))
            && map.keys().filter(counts).count() > 1
}

/// Characters of what has a format without a bound of its own: of a time with its fraction, of an address.
pub(super) fn longest(format: &str) -> Option<u64> {
    match format {
        "time" => Some(24),
        "date-time" => Some(35),
        "duration" => Some(40),
        "email" | "hostname" => Some(100),
        "uri" => Some(500),
        _ => None,
    }
}

/// Whether a keyword's value is as it must be.
pub(super) fn check(kind: Kind, keyword: &str, value: &Value) -> Result<(), String> {
    let must = |good: bool, what: &str| match good {
        true => Ok(()),
        false => Err(format!("{keyword} must be {what}")),
    };
    match kind {
        Kind::Schema => match value {
            Value::Array(_) => {
                Err("items must be one schema; put several into prefixItems".to_owned())
            }
            _ => must(
                value.is_object() || value.is_boolean(),
                "an object, true or false",
            ),
        },
        Kind::Schemas => must(
            value.as_array().is_some_and(|all| !all.is_empty()),
            "an array of schemas",
        ),
        Kind::Named => must(
            value.as_object().is_some_and(|all| all.len() <= NAMES_MAX),
            &format!("an object of at most {NAMES_MAX} schemas"),
        ),
        Kind::Definitions => must(value.is_object(), "an object of schemas"),
        Kind::Reference => must(value.is_string(), "a string"),
        Kind::Type => {
            let known =
                |one: &Value| matches!(one, Value::String(name) if TYPES.contains(&name.as_str()));
            let good = match value {
                Value::Array(all) => !all.is_empty() && all.iter().all(known),
                one => known(one),
            };
            must(
                good,
                &format!("one of {}, or an array of them", TYPES.join(", ")),
            )
        }
        Kind::Constant => exact(value),
        Kind::Enumeration => {
            let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
            must(
                (1..=VALUES_MAX).contains(&all.len()),
                &format!("an array of 1 to {VALUES_MAX} values"),
            )?;
            all.iter().try_for_each(exact)
        }
        Kind::Number => {
            must(value.is_number(), "a number")?;
            let zero = keyword == "multipleOf" && value.as_f64().is_none_or(|one| one <= 0.0);
            must(!zero, "above 0")?;
            exact(value)
        }
        Kind::Count => must(
            value.as_u64().is_some_and(|count| count <= COUNT_MAX),
            &format!("a whole number from 0 to {COUNT_MAX}"),
        ),
        Kind::Names => {
            let names = value.as_array();
            must(
                names.is_some_and(|all| all.len() <= NAMES_MAX && all.iter().all(Value::is_string)),
                &format!("an array of at most {NAMES_MAX} strings"),
            )
        }
        Kind::Pattern => must(
            value
                .as_str()
                .is_some_and(|text| text.len() <= PATTERN_BYTES_MAX),
            &format!("a string of at most {PATTERN_BYTES_MAX} bytes"),
        ),
        Kind::Format => must(
            value.as_str().is_some_and(|name| FORMATS.contains(&name)),
            &format!("one of {}", FORMATS.join(", ")),
        ),
        Kind::False => match value {
            Value::Bool(false) => Ok(()),
            _ => Err(format!("{keyword} is not supported, unless it is false")),
        },
        Kind::Refused => Err(format!("{keyword} is not supported")),
        Kind::Nothing => Ok(()),
    }
}

/// Whole numbers are compared as f64 by the grammar; larger ones would be others.
fn exact(value: &Value) -> Result<(), String> {
    let mut all = vec![value];
    while let Some(value) = all.pop() {
        match value {
            Value::Number(number) if number.as_f64().is_none_or(|one| one.abs() > EXACT_MAX) => {
                return Err(format!(
                    "{number} is beyond 2^53, where numbers are no longer exact"
                ));
            }
            Value::Array(items) => all.extend(items),
            Value::Object(map) => all.extend(map.values()),
            _ => {}
        }
    }
    Ok(())
}

const TYPES: [&str; 7] = [
    "null", "boolean", "integer", "number", "string", "array", "object",
];
/// Those whose syntax the grammar knows.
const FORMATS: [&str; 10] = [
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
    "uri",
];
/// Every whole number up to here is an f64.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// Values of one enumeration.
const VALUES_MAX: usize = 1_000;
/// Properties of one object: the work to compile them grows with their square.
const NAMES_MAX: usize = 500;
/// Lengths and counts.
const COUNT_MAX: u64 = 100_000;
/// Bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 4_096;
