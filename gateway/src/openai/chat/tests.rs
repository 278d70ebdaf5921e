//! Every field, good and bad.

use super::*;
use proptest::prelude::*;
use serde_json::json;
use troop_actors::generate::{CHOICES_MAX, STOPS_MAX, Sampling, Tools};

/// A good request, with the fields of `more` added or put in place.
fn read(more: Value) -> Result<Chat, Problem> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let map = body.as_object_mut().expect("an object");
    for (name, value) in more.as_object().expect("an object") {
        map.insert(name.clone(), value.clone());
    }
    Chat::read(map, &Limits::default())
}

#[test]
fn every_field_is_carried_over() {
    let chat = read(json!({
        "stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false},
        "max_completion_tokens": 7, "max_tokens": 7, "n": 3, "seed": -1, "stop": ["a", "b"],
        "temperature": 0.5, "top_p": 0.25, "top_k": 40, "min_p": 0.125, "repeat_penalty": 1.5,
        "frequency_penalty": 1, "presence_penalty": -1, "logit_bias": {"9": -100, "10": 1.5},
        "ignore_eos": true, "nobody": {"has": ["heard", "of", "this"]}, "user": "u", "tools": [],
        "response_format": {"type": "text"}, "tool_choice": "auto", "logprobs": true,
        "top_logprobs": 20, "min_tokens": 2, "stop_token_ids": [3, 4],
    }))
    .expect("all fields are good");
    assert!(chat.asked.stream && chat.asked.include_usage && chat.asked.ignore_end);
    assert_eq!(
        (chat.asked.tokens_max, chat.asked.choices, chat.asked.seed),
        (Some(7), 3, Some(u64::MAX))
    );
    assert_eq!(chat.asked.stop, ["a", "b"]);
    assert_eq!((chat.logprobs, chat.asked.tokens_min), (Some(20), 2));
    assert_eq!(chat.asked.stop_ids, [3, 4]);
    let expected = Sampling {
        temperature: 0.5,
        top_p: 0.25,
        top_k: 40,
        min_p: 0.125,
        repetition_penalty: 1.5,
        frequency_penalty: 1.0,
        presence_penalty: -1.0,
        logit_bias: vec![(9, -100.0), (10, 1.5)],
        seed: 0,
    };
    assert_eq!(chat.asked.sampling, expected);
}

#[test]
fn a_request_that_does_not_say_how_tokens_are_chosen_leaves_out_the_improbable() {
    let sampling = |more| read(more).expect("it is well formed").asked.sampling;
    let unasked = sampling(json!({"repeat_penalty": 1.0, "top_p": null}));
    assert_eq!(
        (
            unasked.temperature,
            unasked.top_k,
            unasked.top_p,
            unasked.min_p
        ),
        (0.7, 40, 0.9, 0.05)
    );
    assert_eq!(sampling(json!({"temperature": 1})), Sampling::default());
    let top_p = Sampling {
        top_p: 0.5,
        ..Sampling::default()
    };
    assert_eq!(sampling(json!({"top_p": 0.5})), top_p);
}

#[test]
fn conversations_are_read_in_all_their_forms() {
    let chat = read(json!({"messages": [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "name": "ann", "content": [
            {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": null, "refusal": "no"},
        {"role": "assistant", "content": "x", "reasoning_content": "hm", "tool_calls": []},
        {"role": "tool", "tool_call_id": "1", "content": "y"},
        {"role": "function", "name": "f", "content": "z"},
    ]}))
    .expect("all messages are good");
    let said: Vec<(&str, &str)> = chat
        .turns
        .iter()
        .map(|turn| (turn.role.as_str(), turn.content.as_str()))
        .collect();
    let expected = [
        ("system", "be kind"),
        ("user", "a\nb"),
        ("assistant", "no"),
        ("assistant", "x"),
        ("tool", "y"),
        ("tool", "z"),
    ];
    assert_eq!(said, expected);
}

fn add() -> Value {
    json!({"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}})
}

#[test]
fn what_an_answer_is_to_look_like_is_read_in_all_its_forms() {
    let shape = |more| read(more).expect("it is well formed").shape;
    let schema = json!({"type": "integer"});
    for (format, expected) in [
        (json!({"type": "text"}), Shape::Free),
        (json!({"type": "json_object"}), Shape::Object),
        (
            json!({"type": "json_object", "schema": schema}),
            Shape::Schema(schema.to_string()),
        ),
        (
            json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}}),
            Shape::Schema(schema.to_string()),
        ),
    ] {
        assert_eq!(shape(json!({ "response_format": format })), expected);
    }
    let named = json!({"type": "function", "function": {"name": "add"}});
    let allowed =
        json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}});
    for (choice, expected) in [
        (json!(null), Some((vec![], false, true))),
        (json!("auto"), Some((vec![], false, true))),
        (json!("none"), None),
        (json!("required"), Some((vec![], true, true))),
        (named, Some((vec!["add".to_owned()], true, false))),
        (allowed, Some((vec!["add".to_owned()], true, true))),
    ] {
        let list = json!([add()]);
        let expected = expected.map_or(Shape::Free, |(allowed, forced, many)| {
            Shape::Tools(Tools {
                list: list.to_string(),
                allowed,
                forced,
                many,
            })
        });
        assert_eq!(
            shape(json!({"tools": list, "tool_choice": choice})),
            expected
        );
    }
    let one = shape(json!({"tools": [add()], "parallel_tool_calls": false}));
    assert!(matches!(one, Shape::Tools(Tools { many: false, .. })));
}

#[test]
fn calls_and_their_answers_are_carried_over() {
    let call =
        json!({"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}});
    let chat = read(json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "2"},
    ]}))
    .expect("all messages are good");
    let calls: Vec<Value> = (chat.turns[1..].iter())
        .map(|turn| serde_json::from_str(&turn.calls).expect("JSON"))
        .collect();
    assert_eq!(
        calls,
        [json!({"tool_calls": [call]}), json!({"tool_call_id": "1"})]
    );
    assert_eq!(chat.turns[1].content, "");
}

#[test]
fn what_is_wrong_is_refused_by_its_name() {
    let message = |message: Value| json!({"messages": [message]});
    let cases = [
        (json!({"model": null}), "model"),
        (json!({"model": 3}), "model"),
        (json!({"messages": null}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": "hi"}), "messages"),
        (
            json!({"messages": vec![json!({"role": "user", "content": ""}); 2049]}),
            "messages",
        ),
        (message(json!("hi")), "messages[0]"),
        (message(json!({"content": "x"})), "messages[0].role"),
        (
            message(json!({"role": "king", "content": "x"})),
            "messages[0].role",
        ),
        (message(json!({"role": "user"})), "messages[0].content"),
        (
            message(json!({"role": "user", "content": 3})),
            "messages[0].content",
        ),
        (
            message(json!({"role": "assistant", "content": null})),
            "messages[0].content",
        ),
        (
            message(json!({"role": "tool", "content": "x"})),
            "messages[0].tool_call_id",
        ),
        (
            message(json!({"role": "assistant", "tool_calls": [{"id": "1"}]})),
            "messages[0].tool_calls[0].function",
        ),
        (
            message(json!({"role": "assistant", "tool_calls": [
                {"id": "1", "function": {"name": "f", "arguments": {}}}]})),
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            message(json!({"role": "assistant", "tool_calls": [
                {"id": "1", "function": {"name": "f", "arguments": "{}"}}]})),
            "messages",
        ),
        (
            message(json!({"role": "user", "content": [{"type": "image_url", "image_url": {}}]})),
            "messages[0].content[0]",
        ),
        (
            message(json!({"role": "user", "content": [{"type": "text", "text": 1}]})),
            "messages[0].content[0].text",
        ),
        (json!({"stream": "yes"}), "stream"),
        (
            json!({"stream_options": {"include_usage": true}}),
            "stream_options",
        ),
        (
            json!({"stream": true, "stream_options": {"include_usage": 1}}),
            "stream_options.include_usage",
        ),
        (json!({"max_tokens": 0}), "max_tokens"),
        (
            json!({"max_completion_tokens": -1}),
            "max_completion_tokens",
        ),
        (
            json!({"max_tokens": 1, "max_completion_tokens": 2}),
            "max_tokens",
        ),
        (json!({"max_tokens": 1.5}), "max_tokens"),
        (json!({"n": 0}), "n"),
        (json!({"n": 17}), "n"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"temperature": 2.5}), "temperature"),
        (json!({"top_p": -0.1}), "top_p"),
        (json!({"top_k": -2}), "top_k"),
        (json!({"min_p": 2}), "min_p"),
        (json!({"repetition_penalty": 0}), "repetition_penalty"),
        (
            json!({"repetition_penalty": 1.5, "repeat_penalty": 1.25}),
            "repeat_penalty",
        ),
        (json!({"presence_penalty": 3}), "presence_penalty"),
        (json!({"seed": 1.5}), "seed"),
        (json!({"seed": "x"}), "seed"),
        (json!({"stop": ""}), "stop"),
        (json!({"stop": ["a", "b", "c", "d", "e"]}), "stop"),
        (json!({"stop": [1]}), "stop"),
        (json!({"stop": "x".repeat(257)}), "stop"),
        (json!({"logit_bias": {"x": 1}}), "logit_bias"),
        (json!({"logit_bias": {"1": 101}}), "logit_bias.1"),
        (json!({"logit_bias": {"1": 1, "01": 2}}), "logit_bias"),
        (
            json!({"tools": [{"type": "function"}]}),
            "tools[0].function",
        ),
        (json!({"tools": [{"type": "web_search"}]}), "tools[0].type"),
        (json!({"tools": {}}), "tools"),
        (
            json!({"tools": [add()], "tool_choice": "any"}),
            "tool_choice",
        ),
        (
            json!({"tools": [add()], "tool_choice": {"type": "function", "function": {"name": "sub"}}}),
            "tool_choice.function.name",
        ),
        (
            json!({"tools": [add()], "tool_choice": {"type": "allowed_tools", "allowed_tools": {
                "mode": "all", "tools": [add()]}}}),
            "tool_choice.allowed_tools.mode",
        ),
        (
            json!({"tools": [add()], "parallel_tool_calls": 1}),
            "parallel_tool_calls",
        ),
        (json!({"tools": [add()], "logprobs": true}), "logprobs"),
        (
            json!({"tools": [add()], "response_format": {"type": "json_object"}}),
            "response_format",
        ),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (
            json!({"response_format": {"type": "xml"}}),
            "response_format.type",
        ),
        (
            json!({"response_format": {"type": "json_schema"}}),
            "response_format.json_schema",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": []}}}),
            "response_format.json_schema.schema",
        ),
        (json!({"response_format": {}}), "response_format.type"),
        (json!({"logprobs": 1}), "logprobs"),
        (
            json!({"logprobs": true, "top_logprobs": 21}),
            "top_logprobs",
        ),
        (json!({"min_tokens": -1}), "min_tokens"),
        (json!({"min_tokens": 5, "max_tokens": 4}), "min_tokens"),
        (json!({"stop_token_ids": [1, -1]}), "stop_token_ids"),
        (json!({"stop_token_ids": vec![1; 65]}), "stop_token_ids"),
        (json!({"stop_token_ids": "1"}), "stop_token_ids"),
        (
            json!({"continue_final_message": true}),
            "continue_final_message",
        ),
        (
            json!({"add_generation_prompt": false}),
            "add_generation_prompt",
        ),
        (json!({"top_logprobs": 2}), "top_logprobs"),
        (json!({"reasoning_effort": "high"}), "reasoning_effort"),
        (json!({"options": {"temperature": 0}}), "options"),
        (json!({"user": 3}), "user"),
        (json!({"metadata": "x"}), "metadata"),
    ];
    for (more, param) in cases {
        let problem = read(more.clone()).expect_err(param);
        assert_eq!(problem.param.as_deref(), Some(param), "{more}");
        assert_eq!(problem.status.as_u16(), 400);
        assert!(
            problem.message.contains(param) || param.contains('['),
            "{problem}"
        );
    }
}

#[test]
fn a_request_never_sets_more_aside_than_the_model_can_write() {
    for (asked, most) in [
        (json!({}), 100),
        (json!({"max_tokens": 9}), 9),
        (json!({"max_tokens": 1u64 << 40}), 100),
    ] {
        let chat = read(asked).expect("good");
        let generate = chat.generate(Passport([0; 32]), 100, 42, 0);
        assert_eq!(generate.tokens_max, most);
        assert_eq!(generate.sampling.seed, 42);
    }
}

/// Any JSON value, not too large.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z0-9_]{0,8}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_stands_in_a_field_it_is_read_within_bounds_or_refused_by_name(
        field in prop::sample::select(FIELDS),
        value in anything(),
    ) {
        match read(json!({ field: value })) {
            Err(problem) => {
                let param = problem.param.unwrap_or_default();
                prop_assert!(param.starts_with(field), "{field}: {param}");
            }
            Ok(chat) => {
                let sampling = &chat.asked.sampling;
                prop_assert!((0.0..=2.0).contains(&sampling.temperature));
                prop_assert!((0.0..=1.0).contains(&sampling.top_p));
                prop_assert!((0.0..=1.0).contains(&sampling.min_p));
                prop_assert!(sampling.repetition_penalty > 0.0);
                prop_assert!(sampling.logit_bias.iter().all(|(_, bias)| bias.abs() <= 100.0));
                prop_assert!((1..=CHOICES_MAX).contains(&chat.asked.choices));
                prop_assert!(chat.asked.tokens_max != Some(0) && chat.asked.stop.len() <= STOPS_MAX);
            }
        }
    }
}

const FIELDS: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "seed",
    "stop",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "tools",
    "tool_choice",
    "logprobs",
    "top_logprobs",
    "min_tokens",
    "stop_token_ids",
    "continue_final_message",
    "response_format",
    "modalities",
    "mirostat",
    "user",
    "metadata",
    "ignore_eos",
];
