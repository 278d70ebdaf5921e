//! `GET /v1/models` and `GET /v1/models/{id}`, in OpenAI's shape, or in Anthropic's where its header asks.

use crate::backend::Model;
use crate::problem::Problem;
use crate::text::{nearest, shown};
use hyper::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The model that `asked` means: by name, or by its digest with or without `sha256:`. While there is none at all,
/// as when a node has just started, no name is wrong yet: it is to be tried again.
pub fn find<'a>(models: &'a [Model], asked: &str) -> Result<&'a Model, Problem> {
    if models.is_empty() {
        return Err(Problem::overloaded("no model is loaded yet", 1000));
    }
    let digest = asked.strip_prefix("sha256:").unwrap_or(asked);
    models
        .iter()
        .find(|model| model.name == asked)
        .or_else(|| {
            let passport = digest.parse().ok()?;
            models.iter().find(|model| model.passport == passport)
        })
        .ok_or_else(|| {
            let names = || models.iter().map(|model| model.name.as_str());
            let hint = match nearest(asked, names()) {
                Some(near) => format!("; did you mean {}?", shown(near)),
                None => {
                    let some: Vec<String> = names().take(8).map(shown).collect();
                    format!("; there is {}", some.join(", "))
                }
            };
            let message = format!("the model {} does not exist{hint}", shown(asked));
            Problem::new(StatusCode::NOT_FOUND, "model_not_found", message).about("model")
        })
}

/// All models.
pub fn list(models: &[Model], anthropic: bool) -> Value {
    let data: Vec<Value> = models.iter().map(|model| one(model, anthropic)).collect();
    if anthropic {
        let id = |model: Option<&Model>| model.map(|model| model.name.clone());
        json!({
            "data": data,
            "has_more": false,
            "first_id": id(models.first()),
            "last_id": id(models.last()),
        })
    } else {
        json!({"object": "list", "data": data})
    }
}

/// One model.
pub fn one(model: &Model, anthropic: bool) -> Value {
    if anthropic {
        let created = OffsetDateTime::from_unix_timestamp(model.created_seconds as i64)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        return json!({
            "type": "model",
            "id": model.name,
            "display_name": model.name,
            "created_at": created.format(&Rfc3339).unwrap_or_default(),
        });
    }
    json!({
        "id": model.name,
        "object": "model",
        "created": model.created_seconds,
        "owned_by": "troop",
        // The name vLLM's clients read the context from.
        "max_model_len": model.context,
        "meta": {"digest": format!("sha256:{}", model.passport), "context": model.context},
    })
}
