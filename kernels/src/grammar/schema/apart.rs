//! Whether no document can be valid by two of several schemas.

use std::collections::BTreeSet;

use serde_json::Value;

/// Tells options of one schema apart, as long as that takes little work.
pub(super) struct Doubts<'s> {
    root: &'s Value,
    /// What may still be compared; who has used it up is told apart from nothing.
    left: usize,
}

impl<'s> Doubts<'s> {
    pub(super) fn new(root: &'s Value) -> Doubts<'s> {
        Doubts {
            root,
            left: COMPARED_MAX,
        }
    }

    /// Two of the options that may both be valid, by their numbers.
    pub(super) fn overlap(&mut self, options: &[Value]) -> Option<(usize, usize)> {
        // So many can be compared in pairs; more are not one of a kind by hand.
        if options.len() > OPTIONS_MAX {
            return Some((0, OPTIONS_MAX));
        }
        let mut pairs = (0..options.len())
            .flat_map(|left| (left + 1..options.len()).map(move |right| (left, right)));
        pairs.find(|(left, right)| !self.apart(&options[*left], &options[*right], 0))
    }

    /// Whether two schemas are surely of different documents.
    fn apart(&mut self, left: &Value, right: &Value, depth: usize) -> bool {
        let (left, right) = (resolved(self.root, left), resolved(self.root, right));
        if depth > DEPTH_MAX || !self.may_compare(1, 1) {
            return false;
        }
        if left == &Value::Bool(false) || right == &Value::Bool(false) {
            return true;
        }
        if let (Some(left), Some(right)) = (types(left), types(right)) {
            let both = |one: &&str, other: &&str| {
                one == other
                    || matches!(
                        (*one, *other),
                        ("integer", "number") | ("number", "integer")
                    )
            };
            if !self.may_compare(left.len(), right.len()) {
                return false;
            }
            if !left
                .iter()
                .any(|one| right.iter().any(|other| both(one, other)))
            {
                return true;
            }
        }
        if let (Some(left), Some(right)) = (constants(left), constants(right)) {
            return self.may_compare(left.len(), right.len())
                && !left
                    .iter()
                    .any(|one| right.iter().any(|other| same(one, other)));
        }
        // Only objects have properties.
        if !objects(left) || !objects(right) {
            return false;
        }
        let others: BTreeSet<&str> = required(right).collect();
        if !self.may_compare(1, required(left).count() + others.len()) {
            return false;
        }
        // A document that lacks what an option requires is not valid by it; one that has it, of one kind only.
        let names = required(left).filter(|name| others.contains(name));
        let mut names = names.take(NAMES_MAX);
        names.any(|name| match (property(left, name), property(right, name)) {
            (Some(one), Some(other)) => self.apart(one, other, depth + 1),
            _ => false,
        })
    }

    /// Whether so many may still be compared with so many; they are counted.
    fn may_compare(&mut self, left: usize, right: usize) -> bool {
        let left_over = self.left.checked_sub(left.saturating_mul(right));
        self.left = left_over.unwrap_or(0);
        left_over.is_some()
    }
}

/// What a schema refers to, if that is all it says.
fn resolved<'v>(root: &'v Value, mut schema: &'v Value) -> &'v Value {
    for _ in 0..DEPTH_MAX {
        let reference = schema.get("$ref").and_then(Value::as_str);
        let place = reference.and_then(|reference| reference.strip_prefix('#'));
        match place.and_then(|place| root.pointer(place)) {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

fn types(schema: &Value) -> Option<Vec<&str>> {
    match schema.get("type")? {
        Value::String(one) => Some(vec![one]),
        Value::Array(all) => all.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn constants(schema: &Value) -> Option<Vec<&Value>> {
    if let Some(one) = schema.get("const") {
        return Some(vec![one]);
    }
    Some(schema.get("enum")?.as_array()?.iter().collect())
}

/// Numbers are the same by their value, not by how they are written.
fn same(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left == right,
        // Of what holds other values, equality is not worth deciding.
        _ => {
            left == right
                || left.is_object() && right.is_object()
                || left.is_array() && right.is_array()
        }
    }
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str)
}

fn property<'v>(schema: &'v Value, name: &str) -> Option<&'v Value> {
    schema.get("properties")?.get(name)
}

fn objects(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object")
}

const OPTIONS_MAX: usize = 64;
const DEPTH_MAX: usize = 4;
/// What is compared in one schema: a few milliseconds of work.
const COMPARED_MAX: usize = 200_000;
/// What tells options apart stands early.
const NAMES_MAX: usize = 16;
