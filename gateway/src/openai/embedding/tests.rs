//! Vectors keep their order and their length, and what is wrong is named.

use super::*;
use serde_json::json;
use troop_actors::ids::NodeId;

fn read(body: Value) -> Result<Embedding, Problem> {
    Embedding::read(body.as_object().expect("an object"))
}

#[test]
fn what_is_wrong_is_refused_by_its_name() {
    let cases = [
        (json!({"input": "a"}), "model"),
        (json!({"model": "m"}), "input"),
        (json!({"model": "m", "input": ""}), "input"),
        (json!({"model": "m", "input": ["a", ""]}), "input[1]"),
        (json!({"model": "m", "input": [[1], []]}), "input[1]"),
        (json!({"model": "m", "input": vec!["a"; 2049]}), "input"),
        (
            json!({"model": "m", "input": "a", "encoding_format": "hex"}),
            "encoding_format",
        ),
        (
            json!({"model": "m", "input": "a", "dimensions": 0}),
            "dimensions",
        ),
    ];
    for (body, param) in cases {
        let problem = read(body.clone()).expect_err(param);
        assert_eq!(problem.param.as_deref(), Some(param), "{body}");
        assert_eq!(problem.status.as_u16(), 400);
    }
    let float = json!({"model": "m", "input": "a", "encoding_format": null});
    assert!(!read(float).expect("good").form.base64);
}

/// The answer when the vectors come in the order of `order`.
fn answer(form: Form, order: &[usize]) -> Result<Value, Problem> {
    let vectors = [[3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 2.0]];
    let mut gathered = Gathered::new("m".into(), form, 3, 1 << 20);
    let mut body = None;
    for source in order {
        let vector = Vector::from(&vectors[*source][..]);
        for delivery in [
            Delivery::Started {
                prompt_tokens: 5,
                worker: NodeId([1; 32]),
            },
            Delivery::Embedding { vector },
            Delivery::Done {
                prompt_tokens: 5,
                reused_tokens: 0,
                completion_tokens: 1,
            },
        ] {
            body = gathered.take(*source, delivery)?;
        }
    }
    Ok(serde_json::from_slice(&body.expect("all are done")).expect("JSON"))
}

#[test]
fn vectors_are_as_long_as_one_and_in_the_order_of_their_inputs() {
    let mut form = Form {
        base64: false,
        dimensions: None,
    };
    let body = answer(form, &[2, 0, 1]).expect("nothing fails");
    let third = |number: f64| (number / 3.0) as f32;
    let expected = [
        vec![0.6f32, 0.8, 0.0],
        vec![0.0; 3],
        vec![third(1.0), third(2.0), third(2.0)],
    ];
    for (index, numbers) in expected.iter().enumerate() {
        assert_eq!(body["data"][index]["index"], index);
        let written = body["data"][index]["embedding"].clone();
        let read: Vec<f32> = serde_json::from_value(written).expect("numbers");
        assert_eq!(read, *numbers, "to the last bit");
    }
    assert_eq!(
        body["usage"],
        json!({"prompt_tokens": 15, "total_tokens": 15})
    );

    form.base64 = true;
    let coded = answer(form, &[0, 1, 2]).expect("nothing fails");
    for (index, numbers) in expected.iter().enumerate() {
        let text = coded["data"][index]["embedding"].as_str().expect("text");
        let bytes = BASE64_STANDARD.decode(text).expect("base64");
        let read = bytes.chunks_exact(4);
        let read: Vec<f32> = read
            .map(|four| f32::from_le_bytes(four.try_into().expect("four")))
            .collect();
        assert_eq!(read, *numbers);
    }

    form.dimensions = Some(1);
    let short = answer(
        Form {
            base64: false,
            ..form
        },
        &[0, 1, 2],
    );
    let short = short.expect("nothing fails");
    assert_eq!(short["data"][0]["embedding"], json!([1.0]));
    form.dimensions = Some(4);
    let problem = answer(form, &[0]).expect_err("there are three");
    assert_eq!(problem.param.as_deref(), Some("dimensions"));
}
