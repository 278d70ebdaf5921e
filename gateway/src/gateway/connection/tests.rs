//! Whole connections against a scripted node: pipes in memory, a paused clock.

mod answers;
mod door;
mod ends;
mod owner;

use serde_json::{Value, json};

fn hello() -> Value {
    json!({"model": "smollm2", "messages": [{"role": "user", "content": "hi"}]})
}

fn streamed() -> Value {
    let mut body = hello();
    body["stream"] = json!(true);
    body
}
