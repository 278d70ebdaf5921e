//! Chunks join to the whole, and text cannot forge an event.

use super::*;
use proptest::prelude::*;
use serde_json::Value;
use troop_actors::ids::NodeId;

fn heading(choices: u32) -> Heading {
    Heading {
        request: RequestId([3; 16]),
        created: 7,
        model: "m".into(),
        passport: Passport([9; 32]),
        choices,
        include_usage: true,
        logprobs: false,
    }
}

/// Text for random choices, then an end for each, then the end of all.
fn deliveries(texts: &[(u32, String)], choices: u32) -> Vec<Delivery> {
    let mut all = vec![Delivery::Started {
        prompt_tokens: 5,
        worker: NodeId([1; 32]),
    }];
    all.extend(texts.iter().map(|(choice, text)| Delivery::Text {
        choice: choice % choices,
        text: text.clone(),
        tokens: Vec::new(),
    }));
    all.extend((0..choices).map(|choice| Delivery::Ended {
        choice,
        finish: if choice % 2 == 0 {
            Finish::Stop
        } else {
            Finish::Length
        },
    }));
    all.push(Delivery::Done {
        prompt_tokens: 5,
        reused_tokens: 2,
        completion_tokens: texts.len() as u32,
    });
    all
}

/// Reads events as the standard says: any line end ends a line, an empty line ends an event.
fn parse(stream: &str) -> Vec<String> {
    let lines = stream.replace("\r\n", "\n").replace('\r', "\n");
    let mut events = Vec::new();
    for block in lines.split("\n\n").filter(|block| !block.is_empty()) {
        let data = block.strip_prefix("data: ").expect("no field but data");
        assert!(!data.contains('\n'), "one line each");
        events.push(data.to_owned());
    }
    events
}

proptest! {
    #[test]
    fn the_deltas_of_a_stream_join_to_the_whole_answer(
        texts in prop::collection::vec((0u32..16, any::<String>()), 0..20),
        choices in 1u32..=16,
    ) {
        let deliveries = deliveries(&texts, choices);
        let mut bytes = Vec::new();
        let mut stream = Stream::new(heading(choices));
        let mut gathered = Gathered::new(heading(choices), 1 << 20);
        let mut whole = None;
        for delivery in deliveries {
            stream.write(&delivery, &mut bytes);
            whole = gathered.take(delivery).expect("nothing fails");
        }
        let whole: Value = serde_json::from_slice(&whole.expect("Done was said")).expect("JSON");

        let events = parse(std::str::from_utf8(&bytes).expect("UTF-8"));
        // A role and an end for each choice, the texts, the usage, and [DONE].
        prop_assert_eq!(events.len(), 2 * choices as usize + texts.len() + 2);
        prop_assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
        let mut joined = vec![String::new(); choices as usize];
        let mut reasons = vec![Value::Null; choices as usize];
        for event in &events[..events.len() - 1] {
            let chunk: Value = serde_json::from_str(event).expect("JSON");
            for choice in chunk["choices"].as_array().expect("an array") {
                let index = choice["index"].as_u64().expect("an index") as usize;
                joined[index].push_str(choice["delta"]["content"].as_str().unwrap_or(""));
                if !choice["finish_reason"].is_null() {
                    prop_assert!(reasons[index].is_null(), "a choice ends once");
                    reasons[index] = choice["finish_reason"].clone();
                }
            }
            if !chunk["usage"].is_null() {
                prop_assert_eq!(&chunk["usage"], &whole["usage"]);
            }
        }
        for (index, (text, reason)) in joined.iter().zip(&reasons).enumerate() {
            prop_assert_eq!(&whole["choices"][index]["message"]["content"], text);
            prop_assert_eq!(&whole["choices"][index]["finish_reason"], reason);
        }
    }
}

#[test]
fn text_cannot_forge_an_event() {
    let evil = "\r\n\r\ndata: [DONE]\n\nevent: error\rid: 1\u{2028}".to_owned();
    let mut bytes = Vec::new();
    let mut stream = Stream::new(heading(1));
    for delivery in deliveries(&[(0, evil.clone())], 1) {
        stream.write(&delivery, &mut bytes);
    }
    let events = parse(std::str::from_utf8(&bytes).expect("UTF-8"));
    assert_eq!(events.len(), 5);
    let chunk: Value = serde_json::from_str(&events[1]).expect("JSON");
    assert_eq!(chunk["choices"][0]["delta"]["content"], evil);
}

#[test]
fn an_answer_without_end_and_a_choice_that_nobody_asked_for_are_refused() {
    let text = |choice, text: &str| Delivery::Text {
        choice,
        text: text.into(),
        tokens: Vec::new(),
    };
    let mut gathered = Gathered::new(heading(1), 10);
    assert_eq!(gathered.take(text(0, "0123456789")), Ok(None));
    let too_long = gathered.take(text(0, "!")).expect_err("eleven bytes");
    assert_eq!(too_long.code, Some("answer_too_large"));
    let mut gathered = Gathered::new(heading(1), 10);
    let foreign = gathered.take(text(1, "x")).expect_err("no such choice");
    assert_eq!(foreign.status.as_u16(), 502);
}

#[test]
fn calls_come_in_pieces_and_whole() {
    let call = |index, name: &str| Delivery::Call {
        choice: 0,
        index,
        name: name.into(),
    };
    let more = |index, text: &str| Delivery::Arguments {
        choice: 0,
        index,
        text: text.into(),
    };
    let mut deliveries = deliveries(&[], 1);
    let calls = [
        call(0, "add"),
        more(0, "{\"a\""),
        more(0, ":1}"),
        call(1, "stop"),
        more(1, "{}"),
    ];
    deliveries.splice(1..1, calls);
    let (mut bytes, mut whole) = (Vec::new(), None);
    let mut stream = Stream::new(heading(1));
    let mut gathered = Gathered::new(heading(1), 1 << 20);
    for delivery in deliveries {
        stream.write(&delivery, &mut bytes);
        whole = gathered.take(delivery).expect("no failure").or(whole);
    }
    let events = parse(std::str::from_utf8(&bytes).expect("UTF-8"));
    let choices = events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .map(|event| event["choices"][0].clone());
    let choices: Vec<Value> = choices.collect();
    let id = |index| format!("call_{}_0_{index}", RequestId([3; 16]));
    let deltas: Vec<&Value> = choices[1..6]
        .iter()
        .map(|choice| &choice["delta"])
        .collect();
    let begun = |index: u32, name: &str| {
        serde_json::json!({"tool_calls": [{"index": index, "id": id(index), "type": "function",
            "function": {"name": name, "arguments": ""}}]})
    };
    let piece = |index: u32, text: &str| serde_json::json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]});
    let expected = [
        begun(0, "add"),
        piece(0, "{\"a\""),
        piece(0, ":1}"),
        begun(1, "stop"),
        piece(1, "{}"),
    ];
    assert_eq!(deltas, expected.iter().collect::<Vec<_>>());
    assert_eq!(choices[6]["finish_reason"], "tool_calls");

    let whole: Value = serde_json::from_slice(&whole.expect("it is whole")).expect("JSON");
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    let calls = &choice["message"]["tool_calls"];
    assert_eq!(calls[0]["function"]["arguments"], "{\"a\":1}");
    assert_eq!(
        (&calls[1]["id"], calls[1].get("index")),
        (&Value::from(id(1)), None)
    );
}
