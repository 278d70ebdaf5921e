//! Schemas made from a seed, and a judge of documents that knows nothing of grammars.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use serde_json::{Map, Value, json};

/// A source of numbers.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn roll(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % end as u64) as usize
    }
}

/// An object at most four deep, of at most twelve properties in all.
pub fn schema(dice: &mut Dice) -> Value {
    let mut left = 12;
    object(dice, 1, &mut left)
}

fn any(dice: &mut Dice, depth: usize, left: &mut usize) -> Value {
    let kinds = if depth < 4 { 11 } else { 9 };
    match dice.roll(kinds) {
        0 => json!({"type": "boolean"}),
        1 => json!({"type": "integer", "minimum": -5, "maximum": dice.roll(1000)}),
        2 => json!({"type": "integer"}),
        3 => json!({"type": "number", "exclusiveMinimum": 0, "maximum": 10}),
        4 => json!({"type": "string", "minLength": dice.roll(3), "maxLength": 3 + dice.roll(20)}),
        5 => json!({"enum": ["red", "green", 3, null, "b\"l\\ue"]}),
        6 => json!({"type": "string", "pattern": "^[a-z]{2,6}-[0-9]{1,3}$"}),
        7 => json!({"type": ["string", "null"], "maxLength": 8}),
        8 => json!({"type": "string", "format": "date"}),
        9 => object(dice, depth + 1, left),
        _ => {
            let most = 1 + dice.roll(3);
            let items = any(dice, depth + 1, left);
            json!({"type": "array", "items": items, "minItems": dice.roll(most + 1), "maxItems": most})
        }
    }
}

fn object(dice: &mut Dice, depth: usize, left: &mut usize) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for index in 0..1 + dice.roll(5) {
        if *left == 0 {
            break;
        }
        *left -= 1;
        let name = ["name", "size", "kind", "tags", "ünïcode\n", "at"][dice.roll(6)];
        let name = format!("{name}{index}");
        properties.insert(name.clone(), any(dice, depth, left));
        if dice.roll(3) > 0 {
            required.push(name);
        }
    }
    json!({
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": false,
    })
}

/// What is wrong with a document, if anything is, by the keywords that [`schema`] uses.
pub fn fault(schema: &Value, document: &Value) -> Option<String> {
    let fault_of = |what: &str| Some(format!("{what}: {document} by {schema}"));
    let number = |keyword: &str| schema[keyword].as_f64();
    if let Some(kinds) = schema.get("type") {
        let is = |kind: &str| match kind {
            "null" => document.is_null(),
            "boolean" => document.is_boolean(),
            "integer" => document.as_f64().is_some_and(|one| one.fract() == 0.0),
            "number" => document.is_number(),
            "string" => document.is_string(),
            "array" => document.is_array(),
            _ => document.is_object(),
        };
        let mut kinds = kinds
            .as_array()
            .map_or(vec![kinds], |all| all.iter().collect());
        kinds.retain(|kind| kind.as_str().is_some_and(is));
        if kinds.is_empty() {
            return fault_of("type");
        }
    }
    if schema["enum"]
        .as_array()
        .is_some_and(|all| !all.contains(document))
    {
        return fault_of("enum");
    }
    if let Some(value) = document.as_f64() {
        let low = number("minimum").is_some_and(|bound| value < bound)
            || number("exclusiveMinimum").is_some_and(|bound| value <= bound);
        if low || number("maximum").is_some_and(|bound| value > bound) {
            return fault_of("bounds");
        }
    }
    if let Some(text) = document.as_str() {
        let length = text.chars().count() as f64;
        if number("minLength").is_some_and(|bound| length < bound)
            || number("maxLength").is_some_and(|bound| length > bound)
        {
            return fault_of("length");
        }
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if schema.get("pattern").is_some() {
            let good = text.split_once('-').is_some_and(|(word, count)| {
                (2..=6).contains(&word.len())
                    && word.bytes().all(|byte| byte.is_ascii_lowercase())
                    && (1..=3).contains(&count.len())
                    && digits(count)
            });
            if !good {
                return fault_of("pattern");
            }
        }
        let parts: Vec<&str> = text.split('-').collect();
        let date = matches!(parts[..], [year, month, day]
            if [year.len(), month.len(), day.len()] == [4, 2, 2] && parts.iter().all(|part| digits(part)));
        if schema.get("format").is_some() && !date {
            return fault_of("format");
        }
    }
    if let Some(items) = document.as_array() {
        let length = items.len() as f64;
        if number("minItems").is_some_and(|bound| length < bound)
            || number("maxItems").is_some_and(|bound| length > bound)
        {
            return fault_of("items");
        }
        return items.iter().find_map(|item| fault(&schema["items"], item));
    }
    let map = document.as_object()?;
    for name in schema["required"].as_array()? {
        if !map.contains_key(name.as_str()?) {
            return fault_of("required");
        }
    }
    let known = schema["properties"].as_object()?;
    map.iter().find_map(|(name, value)| match known.get(name) {
        Some(schema) => fault(schema, value),
        None => fault_of("additionalProperties"),
    })
}
