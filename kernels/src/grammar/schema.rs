//! What of JSON Schema (2020-12, and what of drafts 4 to 7 still means the same) is understood.
//!
//! A keyword is enforced, or changes nothing, or is refused by its name and place. None is left out silently
//! that would make more documents valid than it says. Keywords nobody has heard of change nothing: the
//! specification says so.
//!
//! Some things are decided here because the grammar's compiler does not. `oneOf` becomes `anyOf` where its
//! options exclude one another by type, by a constant, or by a property that tells them apart. References lead
//! into the same document. And what a schema leaves open that a small model would fill until its tokens run
//! out, is closed, so that fewer documents come, all of them valid: an object has the properties it names and
//! no others, unless it says so, whole numbers are those that an f64 tells apart, and what has a format is no
//! longer than such things are.

mod apart;
mod divisors;
mod keywords;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::GrammarError;
use apart::Doubts;
use divisors::Divisors;
use keywords::{Kind, kind};

/// Reads JSON of bounded length and depth.
pub(super) fn parse(text: &str) -> Result<Value, GrammarError> {
    if text.len() > BYTES_MAX {
        let why = format!("{} bytes is above the limit of {BYTES_MAX}", text.len());
        return Err(GrammarError::new("", why));
    }
    serde_json::from_str(text).map_err(|error| GrammarError::new("", error))
}

/// Checks every part of a schema that counts, and returns it as the compiler is to have it. `at` is where it
/// stands.
pub(super) fn check(schema: &Value, at: &str) -> Result<Value, GrammarError> {
    let mut walk = Walk {
        root: schema,
        checked: schema.clone(),
        known: BTreeSet::new(),
        waiting: Vec::new(),
        doubts: Doubts::new(schema),
        divisors: Divisors::default(),
    };
    walk.wait(String::new(), false, 0);
    let placed = |error: GrammarError| GrammarError::new(format!("{at}{}", error.at), error.why);
    while let Some((pointer, shared, depth)) = walk.waiting.pop() {
        walk.part(&pointer, shared, depth).map_err(placed)?;
    }
    walk.divisors.check().map_err(placed)?;
    let (known, mut checked) = (walk.known, walk.checked);
    for (pointer, shared) in &known {
        if let Some(Value::Object(map)) = checked.pointer_mut(pointer) {
            if !shared && !known.contains(&(pointer.clone(), true)) {
                close(map);
            }
            bound(map);
        }
    }
    Ok(checked)
}

/// Lets an object have no properties but those it names, where it says nothing about others.
fn close(map: &mut Map<String, Value>) {
    let named = map.get("properties").and_then(Value::as_object);
    let Some(named) = named.filter(|named| !named.is_empty()) else {
        return;
    };
    let required = map.get("required").and_then(Value::as_array);
    let strange = |name: &Value| name.as_str().is_some_and(|name| !named.contains_key(name));
    let open = required.is_some_and(|all| all.iter().any(strange))
        || ["additionalProperties", "patternProperties", "minProperties"]
            .iter()
            .any(|keyword| map.contains_key(*keyword));
    if !open {
        map.insert("additionalProperties".into(), false.into());
    }
}

/// Lets whole numbers be no larger than where they are exact, and what has a format no longer than it need be.
fn bound(map: &mut Map<String, Value>) {
    let format = map.get("format").and_then(Value::as_str);
    let longest = format.and_then(keywords::longest);
    if let (Some(longest), false) = (longest, map.contains_key("maxLength")) {
        map.insert("maxLength".into(), longest.into());
    }
    let whole = |one: &Value| one == "integer";
    let whole = match map.get("type") {
        Some(Value::Array(all)) => all.iter().any(whole),
        Some(one) => whole(one),
        None => false,
    };
    for (keyword, other, limit) in [
        ("minimum", "exclusiveMinimum", -WHOLE_MAX),
        ("maximum", "exclusiveMaximum", WHOLE_MAX),
    ] {
        if whole && !map.contains_key(keyword) && !map.contains_key(other) {
            map.insert(keyword.into(), limit.into());
        }
    }
}

/// The schema, with a space after commas and colons and nothing else between two things of its JSON: more would
/// not say more, and a small model says it until its tokens run out.
pub(super) fn spaced(mut schema: Value) -> Value {
    if schema == Value::Bool(true) {
        schema = json!({});
    }
    if let Some(map) = schema.as_object_mut() {
        let spaces = json!({
            "whitespace_flexible": false, "item_separator": ", ?", "key_separator": ": ?",
        });
        map.insert("x-guidance".into(), spaces);
    }
    schema
}

/// The places of all parts that are schemas, innermost first.
pub(super) fn parts(schema: &Value) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut next = 0;
    while next < all.len() && all.len() < PARTS_MAX {
        if let Some(Value::Object(map)) = schema.pointer(&all[next]) {
            for (keyword, value) in map {
                let at = format!("{}/{}", all[next], escaped(keyword));
                children(kind(keyword), value, &at, &mut all);
            }
        }
        next += 1;
    }
    all.sort_by_key(|pointer| std::cmp::Reverse(pointer.matches('/').count()));
    all
}

/// One part alone, with the definitions it may refer to.
pub(super) fn part(schema: &Value, pointer: &str) -> Option<Value> {
    let mut part = schema.pointer(pointer)?.as_object()?.clone();
    for definitions in ["$defs", "definitions"] {
        if let Some(all) = schema.get(definitions) {
            part.insert(definitions.into(), all.clone());
        }
    }
    Some(Value::Object(part))
}

struct Walk<'s> {
    root: &'s Value,
    checked: Value,
    doubts: Doubts<'s>,
    divisors: Divisors,
    /// Places that have been looked at or will be, and whether others say something of the same value.
    known: BTreeSet<(String, bool)>,
    waiting: Vec<(String, bool, usize)>,
}

impl Walk<'_> {
    fn wait(&mut self, pointer: String, shared: bool, depth: usize) {
        if self.known.insert((pointer.clone(), shared)) {
            self.waiting.push((pointer, shared, depth));
        }
    }

    fn part(&mut self, pointer: &str, shared: bool, depth: usize) -> Result<(), GrammarError> {
        if depth > DEPTH_MAX {
            let why = format!("is nested deeper than {DEPTH_MAX}");
            return Err(GrammarError::new(pointer, why));
        }
        let map = match self.root.pointer(pointer) {
            Some(Value::Object(map)) => map,
            Some(Value::Bool(_)) => return Ok(()),
            _ => {
                let why = "a schema must be an object, true or false";
                return Err(GrammarError::new(pointer, why));
            }
        };
        let beside = SAME
            .iter()
            .filter(|keyword| map.contains_key(**keyword))
            .count()
            > 1;
        let beside = shared || beside || map.contains_key("allOf");
        self.divisors.combined |= keywords::combined(map);
        for (keyword, value) in map {
            let at = format!("{pointer}/{}", escaped(keyword));
            let kind = kind(keyword);
            keywords::check(kind, keyword, value)
                .map_err(|why| GrammarError::new(at.as_str(), why))?;
            if at.len() > PLACE_BYTES_MAX && kind != Kind::Nothing {
                let why = format!("its place is longer than {PLACE_BYTES_MAX} bytes");
                return Err(GrammarError::new(at, why));
            }
            if keyword == "multipleOf" {
                self.divisors.hear(&at, value)?;
            }
            let mut below = Vec::new();
            match kind {
                Kind::Reference => {
                    let (target, whole) = (self.target(value), value.as_str().unwrap_or_default());
                    let why = || format!("$ref {whole:?} is no place in this schema");
                    below.push(target.ok_or_else(|| GrammarError::new(at.as_str(), why()))?);
                }
                // Definitions that nothing refers to change nothing.
                Kind::Definitions => {}
                _ => children(kind, value, &at, &mut below),
            }
            let same = keyword != "properties" && SAME.contains(&keyword.as_str());
            for place in below {
                self.wait(place, same && beside, depth + 1);
            }
            // What others speak of too is theirs to close.
            if beside {
                self.known.insert((pointer.to_owned(), true));
            }
            if self.known.len() > PARTS_MAX {
                let why = format!("has more than {PARTS_MAX} parts");
                return Err(GrammarError::new("", why));
            }
        }
        if let Some(Value::Array(options)) = map.get("oneOf") {
            if let Some((left, right)) = self.doubts.overlap(options) {
                let why = format!(
                    "oneOf: options {left} and {right} may both be valid; say how they differ by a \
                     constant that both require, or use anyOf"
                );
                return Err(GrammarError::new(format!("{pointer}/oneOf"), why));
            }
            if map.contains_key("anyOf") {
                let why = "oneOf cannot stand beside anyOf; put one of them into allOf";
                return Err(GrammarError::new(format!("{pointer}/oneOf"), why));
            }
            if let Some(Value::Object(map)) = self.checked.pointer_mut(pointer) {
                rename(map, "oneOf", "anyOf");
            }
        }
        Ok(())
    }

    /// Where a reference leads.
    fn target(&self, reference: &Value) -> Option<String> {
        let place = reference.as_str()?.strip_prefix('#')?;
        let plain = !place.contains(['~', '%']) && place != "/";
        (plain && self.root.pointer(place).is_some()).then(|| place.to_owned())
    }
}

/// The places of the schemas in the value of a keyword: one too many at most, and none below a place that is too
/// long, so that what is written here is bounded whatever stands there.
fn children(kind: Kind, value: &Value, at: &str, into: &mut Vec<String>) {
    if at.len() > PLACE_BYTES_MAX {
        return;
    }
    match (kind, value) {
        (Kind::Schema, Value::Object(_) | Value::Bool(_)) => into.push(at.to_owned()),
        (Kind::Schemas, Value::Array(items)) => {
            let count = items.len().min(PARTS_MAX + 1);
            into.extend((0..count).map(|index| format!("{at}/{index}")));
        }
        (Kind::Named | Kind::Definitions, Value::Object(map)) => {
            let names = map.keys().take(PARTS_MAX + 1);
            into.extend(names.map(|name| format!("{at}/{}", escaped(name))));
        }
        _ => {}
    }
}

/// Gives an entry another name and leaves it where it is: the order of keywords is that of the answer.
fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    let entries = std::mem::take(map);
    for (name, value) in entries {
        let name = if name == from { to.to_owned() } else { name };
        map.insert(name, value);
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Bytes of a schema or of a list of tools.
const BYTES_MAX: usize = 256 << 10;
/// Schemas within one another.
const DEPTH_MAX: usize = 48;
/// Schemas in a schema.
const PARTS_MAX: usize = 2_000;
/// Bytes of a place: each part has one, so with the parts it bounds what is written down of all.
const PLACE_BYTES_MAX: usize = 4_096;
/// Keywords that speak of the same value, not of a part of it.
const SAME: [&str; 5] = ["properties", "allOf", "anyOf", "oneOf", "$ref"];
/// 2^53 - 1.
const WHOLE_MAX: i64 = 9_007_199_254_740_991;

#[cfg(test)]
mod tests;
