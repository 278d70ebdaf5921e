//! Every field, good and bad.

use super::*;
use serde_json::json;

/// A good request, with the fields of `more` added or put in place.
fn read(more: Value) -> Result<Completion, Problem> {
    let mut body = json!({"model": "m", "prompt": "hi"});
    let map = body.as_object_mut().expect("an object");
    for (name, value) in more.as_object().expect("an object") {
        map.insert(name.clone(), value.clone());
    }
    Completion::read(map)
}

#[test]
fn a_prompt_is_text_or_ids_one_or_several() {
    let text = |text: &str| Prompt::Text(text.to_owned());
    let cases = [
        (json!("a"), vec![text("a")]),
        (json!(["a", "b"]), vec![text("a"), text("b")]),
        (json!([1, 2]), vec![Prompt::Tokens(vec![1, 2])]),
        (
            json!([[1], [2, 3]]),
            vec![Prompt::Tokens(vec![1]), Prompt::Tokens(vec![2, 3])],
        ),
    ];
    for (prompt, expected) in cases {
        let read = read(json!({"prompt": prompt})).expect("it is well formed");
        assert_eq!(read.prompts, expected);
    }
}

#[test]
fn what_is_not_said_is_as_usual() {
    let usual = read(json!({"best_of": 1, "suffix": "", "logprobs": null})).expect("good");
    assert_eq!((usual.asked.tokens_max, usual.echo), (Some(16), false));
    assert_eq!(usual.logprobs, None);
    let said = json!({"max_tokens": 3, "n": 2, "best_of": 2, "echo": true, "logprobs": 0});
    let said = read(said).expect("good");
    assert_eq!((said.asked.tokens_max, said.echo), (Some(3), true));
    assert_eq!(said.logprobs, Some(0));
    let mut seed = 0;
    let seeds = || {
        seed += 1;
        seed
    };
    let two = read(json!({"prompt": ["a", "a"], "echo": true})).expect("good");
    let generates = two.generate(Passport([0; 32]), 100, seeds, 0);
    let drawn: Vec<u64> = generates.iter().map(|one| one.sampling.seed).collect();
    assert_eq!(drawn, [1, 2], "each prompt has its own dice");
    assert!(generates.iter().all(|one| one.task == Task::Echo));
}

#[test]
fn what_is_wrong_is_refused_by_its_name() {
    let cases = [
        (json!({"prompt": null}), "prompt"),
        (json!({"prompt": 3}), "prompt"),
        (json!({"prompt": []}), "prompt"),
        (json!({"prompt": [1, -1]}), "prompt"),
        (json!({"prompt": ["a", 1]}), "prompt[1]"),
        (json!({"prompt": ["a", [1]]}), "prompt[1]"),
        (json!({"prompt": [[1], ["a"]]}), "prompt[1]"),
        (json!({"prompt": vec!["a"; 129]}), "prompt"),
        (json!({"suffix": "b"}), "suffix"),
        (json!({"best_of": 2}), "best_of"),
        (json!({"logprobs": 6}), "logprobs"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"echo": 1}), "echo"),
        (json!({"max_tokens": 0}), "max_tokens"),
    ];
    for (more, param) in cases {
        let problem = read(more.clone()).expect_err(param);
        assert_eq!(problem.param.as_deref(), Some(param), "{more}");
        assert_eq!(problem.status.as_u16(), 400);
    }
}
