//! What is refused, by its name and place.

use serde_json::{Value, json};

use super::check;

fn refused(schema: Value) -> (String, String) {
    let error = check(&schema, "").expect_err(&schema.to_string());
    (error.at, error.why)
}

#[test]
fn what_is_not_understood_is_refused_by_its_name_and_place() {
    let inside = |part: Value| json!({"type": "object", "properties": {"a/b": {"items": part}}});
    for (part, keyword) in [
        (json!({"not": {}}), "not"),
        (json!({"if": {}, "then": {}}), "if"),
        (json!({"uniqueItems": true}), "uniqueItems"),
        (json!({"contains": {}}), "contains"),
        (json!({"propertyNames": {}}), "propertyNames"),
        (json!({"dependentRequired": {}}), "dependentRequired"),
        (
            json!({"unevaluatedProperties": false}),
            "unevaluatedProperties",
        ),
        (json!({"additionalItems": false}), "additionalItems"),
        (json!({"$dynamicRef": "#x"}), "$dynamicRef"),
        (json!({"x-guidance": {}}), "x-guidance"),
        (json!({"nullable": true}), "nullable"),
        (json!({"items": []}), "items"),
        (json!({"type": "text"}), "type"),
        (json!({"type": []}), "type"),
        (json!({"enum": []}), "enum"),
        (json!({"const": 1u64 << 60}), "const"),
        (json!({"maximum": "1"}), "maximum"),
        (json!({"multipleOf": 0}), "multipleOf"),
        (json!({"maxLength": -1}), "maxLength"),
        (json!({"maxItems": 1_000_000}), "maxItems"),
        (json!({"required": "a"}), "required"),
        (json!({"pattern": 1}), "pattern"),
        (json!({"format": "binary"}), "format"),
        (json!({"$ref": "other.json"}), "$ref"),
        (json!({"$ref": "#/nowhere"}), "$ref"),
        (json!({"properties": []}), "properties"),
        (json!({"anyOf": {}}), "anyOf"),
        (
            json!({"oneOf": [{"type": "string"}, {"minLength": 1}]}),
            "oneOf",
        ),
    ] {
        let (at, why) = refused(inside(part));
        assert_eq!(at, format!("/properties/a~1b/items/{keyword}"), "{why}");
        assert!(!why.is_empty());
    }
}

#[test]
fn what_counts_nowhere_is_not_looked_at() {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "title": "t", "default": 1,
        "$defs": {"unused": {"not": {}}}, "x-order": 3, "uniqueItems": false,
        "properties": {"not": {"type": "string", "deprecated": true}},
    });
    let mut expected = schema.clone();
    expected["additionalProperties"] = false.into();
    assert_eq!(check(&schema, ""), Ok(expected));
}

#[test]
fn what_is_left_open_is_closed_where_nobody_else_speaks_of_it() {
    let closed = |schema: Value, pointer: &str| {
        let checked = check(&schema, "").expect("it is good");
        let part = checked.pointer(pointer).expect("it has the part");
        part.get("additionalProperties") == Some(&Value::Bool(false))
    };
    let one = json!({"properties": {"a": {}}});
    assert!(closed(one.clone(), ""));
    assert!(closed(json!({ "items": one }), "/items"));
    assert!(closed(
        json!({"anyOf": [one, {"type": "null"}]}),
        "/anyOf/0"
    ));
    assert!(closed(
        json!({"$ref": "#/$defs/d", "$defs": {"d": one}}),
        "/$defs/d"
    ));
    for (open, pointer) in [
        (
            json!({"properties": {"a": {}}, "additionalProperties": true}),
            "",
        ),
        (json!({"properties": {"a": {}}, "required": ["b"]}), ""),
        (json!({"properties": {"a": {}}, "minProperties": 2}), ""),
        (json!({"properties": {}}), ""),
        (json!({ "allOf": [one] }), "/allOf/0"),
        (json!({"properties": {"b": {}}, "anyOf": [one]}), ""),
        (json!({"properties": {"b": {}}, "anyOf": [one]}), "/anyOf/0"),
        (
            json!({"allOf": [{"$ref": "#/$defs/d"}], "$defs": {"d": one}}),
            "/$defs/d",
        ),
        // Alone in one place, and beside others in another.
        (
            json!({"properties": {"x": {"$ref": "#/$defs/d"}, "y": {"allOf": [{"$ref": "#/$defs/d"}]}},
                "$defs": {"d": one}}),
            "/$defs/d",
        ),
    ] {
        assert!(!closed(open.clone(), pointer), "{open}");
    }
    let email = check(&json!({"type": "string", "format": "email"}), "");
    assert_eq!(email.expect("it is good")["maxLength"], 100);
    let whole = check(
        &json!({"type": ["integer", "null"], "exclusiveMaximum": 3}),
        "",
    );
    let whole = whole.expect("it is good");
    assert_eq!(
        (&whole["minimum"], whole.get("maximum")),
        (&json!(-9_007_199_254_740_991_i64), None)
    );
}

#[test]
fn definitions_are_looked_at_where_something_refers_to_them() {
    let schema = json!({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"not": {}}}});
    assert_eq!(refused(schema).0, "/$defs/b/not");
    let recursive = json!({"properties": {"next": {"$ref": "#"}}});
    assert!(check(&recursive, "").is_ok());
}

#[test]
fn options_that_exclude_one_another_may_be_one_of() {
    let kind = |kind: &str| json!({"type": "object", "required": ["kind"], "properties": {"kind": {"const": kind}}});
    let references = json!({
        "oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
        "$defs": {"a": kind("a"), "b": kind("b")},
    });
    let checked = check(&references, "").expect("they differ by a constant");
    assert!(checked.get("oneOf").is_none() && checked["anyOf"].is_array());
    assert!(
        check(
            &json!({"oneOf": [{"type": "string"}, {"type": "null"}]}),
            ""
        )
        .is_ok()
    );
    assert!(check(&json!({"oneOf": [{"enum": [1, "a"]}, {"const": 2}]}), "").is_ok());
    for both in [
        json!([{"type": "integer"}, {"type": "number"}]),
        json!([{"const": 1}, {"const": 1.0}]),
        json!([kind("a"), kind("a")]),
        json!([{}, {"type": "string"}]),
        // Nothing says that these are objects.
        json!([
            {"required": ["k"], "properties": {"k": {"const": 1}}},
            {"required": ["k"], "properties": {"k": {"const": 2}}}
        ]),
    ] {
        assert_eq!(refused(json!({ "oneOf": both })).0, "/oneOf", "{both}");
    }
}

#[test]
fn a_schema_is_bounded_in_depth_and_parts() {
    let mut deep = json!({});
    for _ in 0..60 {
        deep = json!({ "items": deep });
    }
    assert!(refused(deep).1.contains("deeper than 48"));
    let wide: serde_json::Map<_, _> = (0..450)
        .map(|index| (index.to_string(), json!({})))
        .collect();
    let wide = json!({ "properties": wide });
    let five = refused(json!({ "anyOf": [wide, wide, wide, wide, wide] }));
    assert!(five.1.contains("2000 parts"), "{}", five.1);
    let long = format!("\"{}\"", "x".repeat(1 << 20));
    assert!(
        super::parse(&long)
            .unwrap_err()
            .why
            .contains("above the limit")
    );
}
