//! A model made to hurt, on a real node beside a good one: its engine ends, and nothing else does.

#[path = "support/node.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod support;

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use support::{Folder, Node, test_model, until};

/// A template that doubles a string sixty times: few steps, and more memory than there is.
const DOUBLES: &str = "{% set ns = namespace(x='xxxxxxxx') %}\
    {% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}";

/// The real model with another chat template in the place of its own.
fn write_model(path: &Path, template: &str) {
    let mut file = fs::read(test_model::test_model()).expect("the test model");
    let key = b"tokenizer.chat_template";
    let found = file.windows(key.len()).position(|bytes| bytes == key);
    // After the key: the kind of the value in four bytes, its length in eight, and the value.
    let length_at = found.expect("it has a template") + key.len() + 4;
    let length = u64::from_le_bytes(
        file[length_at..length_at + 8]
            .try_into()
            .expect("eight bytes"),
    );
    let template = format!("{template:length$}", length = length as usize);
    let start = length_at + 8;
    file[start..start + length as usize].copy_from_slice(template.as_bytes());
    fs::write(path, file).expect("a file beside the node");
}

fn engine(folder: &Folder, model: &str) -> Option<Value> {
    let ps = folder.json(&["ps"]);
    let engines = ps["engines"].as_array()?;
    engines.iter().find(|it| it["model"] == model).cloned()
}

#[test]
fn a_template_that_wants_all_memory_ends_its_own_engine_and_status_says_why() {
    let folder = Folder::with_model();
    let path = folder.0.join("hostile.gguf");
    write_model(&path, DOUBLES);
    let from = format!("file:{}", path.display());
    let pulled = folder.troop(&["pull", "hostile", "--from", &from]);
    assert!(
        pulled.status.success(),
        "its header is in order: {pulled:?}"
    );

    let node = Node::start_with(&folder, &[("TROOP_MODEL", "smollm2,hostile")]);
    let fallen = until("the hostile engine has fallen", || {
        let hostile = engine(&folder, "hostile")?;
        (hostile["state"] == "down" && hostile["restarts"].as_u64()? > 0).then_some(hostile)
    });
    let reason = fallen["reason"].as_str().expect("a reason");
    assert!(reason.contains("memory allocation of"), "{reason}");
    println!("status says: {reason}");

    let answer = node
        .chat(None, json!({ "max_tokens": 4 }))
        .expect("an answer");
    assert_eq!(answer.status, 200, "the other model is served: {answer:?}");
    let good = engine(&folder, "smollm2").expect("it runs");
    assert_eq!(
        (&good["state"], &good["restarts"]),
        (&json!("ready"), &json!(0))
    );
}
