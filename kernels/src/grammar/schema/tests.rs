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
        (json!({"multipleOf": 1001}), "multipleOf"),
        (json!({"multipleOf": 0.000_000_1}), "multipleOf"),
        (json!({"multipleOf": 4_294_967_296.0}), "multipleOf"),
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

#[test]
fn divisors_that_would_be_much_work_together_are_refused() {
    let several = |divisors: &[f64]| -> serde_json::Map<String, Value> {
        let part = |divisor: &f64| json!({"type": "number", "multipleOf": divisor});
        let named = divisors.iter().enumerate();
        named
            .map(|(index, one)| (index.to_string(), part(one)))
            .collect()
    };
    let usual = several(&[0.01, 0.25, 5.0, 1000.0, 0.01]);
    assert!(check(&json!({ "properties": usual }), "").is_ok());
    let many: Vec<f64> = (995..=1000).map(f64::from).collect();
    let (at, why) = refused(json!({ "properties": several(&many) }));
    assert!(at.starts_with("/properties/") && at.ends_with("/multipleOf"));
    assert!(why.contains("5985") && why.contains("5000"), "{why}");
    // Where two of them may hold for one number, the grammar would count to their product.
    for meeting in [
        json!({"allOf": [{"multipleOf": 997}, {"multipleOf": 991}]}),
        json!({"multipleOf": 997, "anyOf": [{"multipleOf": 991}]}),
        json!({"$defs": {"a": {"multipleOf": 997}}, "$ref": "#/$defs/a", "multipleOf": 991}),
        json!({"allOf": [
            {"properties": {"a": {"multipleOf": 997}}}, {"properties": {"a": {"multipleOf": 991}}}
        ]}),
    ] {
        assert!(refused(meeting).1.contains("least common multiple"));
    }
    for small in [[997.0, 997.0], [0.25, 10.0], [3.0, 7.0]] {
        let both = small.map(|one| json!({ "multipleOf": one }));
        assert!(check(&json!({ "allOf": both }), "").is_ok(), "{small:?}");
    }
}

#[test]
fn however_long_its_names_what_is_written_down_of_a_schema_is_bounded() {
    let name = "x".repeat(5_000);
    let below = json!({"properties": {&name: {"anyOf": vec![json!({}); 30_000]}}});
    let (at, why) = refused(below);
    assert!(why.contains("longer than 4096 bytes"), "{why}");
    assert!(at.len() < 400);
    let (_, why) = refused(json!({"anyOf": vec![json!({}); 30_000]}));
    assert!(why.contains("2000 parts"), "{why}");
    // Of what nothing refers to as well, where a part to blame is looked for.
    let apart = json!({"$defs": {&name[..4_000]: {"anyOf": vec![json!({}); 30_000]}}});
    let parts = super::parts(&check(&apart, "").expect("nothing refers to it"));
    assert!(parts.iter().map(String::len).sum::<usize>() < 10 << 20);
}

#[test]
fn options_that_are_too_much_work_to_tell_apart_are_refused() {
    // All properties but the last are alike, down to any depth.
    let option = |last: Value| {
        let mut properties = serde_json::Map::new();
        (0..15).for_each(|index| {
            properties.insert(format!("a{index:02}"), json!({"$ref": "#/$defs/alike"}));
        });
        properties.insert("a15".into(), last);
        let names: Vec<String> = properties.keys().cloned().collect();
        json!({"type": "object", "properties": properties, "required": names})
    };
    let options: Vec<Value> = (0..64)
        .map(|index| option(json!({ "const": index })))
        .collect();
    let alike = option(json!({"$ref": "#/$defs/alike"}));
    let (at, why) = refused(json!({"$defs": {"alike": alike}, "oneOf": options}));
    assert_eq!(at, "/oneOf");
    assert!(why.contains("may both be valid"), "{why}");
}
