//! Prompts that are not conversations: text or token ids, one or several.

use super::request::token_ids;
use crate::json::Fields;
use crate::problem::Problem;
use serde_json::Value;
use troop_actors::generate::Prompt;
use troop_actors::session::protocol::Trouble;

/// Reads the field `name`: a string, an array of strings, an array of token ids, or an array of those; `most`
/// prompts at most.
pub(super) fn read(fields: &Fields, name: &str, most: usize) -> Result<Vec<Prompt>, Problem> {
    let value = fields.required(name)?;
    let must = "a string, token ids, or an array of either";
    let values = match value {
        Value::String(text) => return Ok(vec![Prompt::Text(text.clone())]),
        Value::Array(values) => values,
        _ => return Err(fields.wrong(name, must)),
    };
    if values.first().is_some_and(Value::is_number) {
        let ids = token_ids(values).ok_or_else(|| fields.out_of_bounds(name, must))?;
        return Ok(vec![Prompt::Tokens(ids)]);
    }
    if !(1..=most).contains(&values.len()) {
        let must = format!("1 to {most} prompts; there are {}", values.len());
        return Err(fields.out_of_bounds(name, must));
    }
    let prompt = |(index, value): (usize, &Value)| match value {
        Value::String(text) => Ok(Prompt::Text(text.clone())),
        Value::Array(ids) => token_ids(ids)
            .map(Prompt::Tokens)
            .ok_or_else(|| wrong_at(fields, name, index)),
        _ => Err(wrong_at(fields, name, index)),
    };
    let prompts: Result<Vec<Prompt>, Problem> = values.iter().enumerate().map(prompt).collect();
    let prompts = prompts?;
    let texts = |prompt: &Prompt| matches!(prompt, Prompt::Text(_));
    match prompts
        .iter()
        .position(|one| texts(one) != texts(&prompts[0]))
    {
        Some(index) => Err(wrong_at(fields, name, index)),
        None => Ok(prompts),
    }
}

fn wrong_at(fields: &Fields, name: &str, index: usize) -> Problem {
    let path = format!("{}[{index}]", fields.path(name));
    let message = format!("{path} must be a string or token ids, as all others");
    Problem::field(&path, message)
}

/// A trouble with prompt `index` of `count`, which the client calls `name`.
pub(crate) fn problem(trouble: &Trouble, name: &str, index: usize, count: usize) -> Problem {
    let problem = Problem::from(trouble);
    match problem.param.as_deref() {
        Some("messages" | "prompt") if count > 1 => problem.renamed(format!("{name}[{index}]")),
        Some("messages" | "prompt") => problem.renamed(name),
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use troop_actors::generate::Failure;

    #[test]
    fn a_trouble_names_the_field_as_the_client_does() {
        let trouble = |field: &str| {
            Trouble::Failed(Failure::Invalid {
                field: field.to_owned(),
                message: "token 9 is outside the vocabulary of 9".to_owned(),
            })
        };
        for (field, count, named) in [
            ("prompt", 2, "input[1]"),
            ("prompt", 1, "input"),
            ("logit_bias", 2, "logit_bias"),
        ] {
            let problem = problem(&trouble(field), "input", 1, count);
            assert_eq!(problem.param.as_deref(), Some(named));
            let sentence = format!("{named}: token 9 is outside the vocabulary of 9");
            assert_eq!(problem.message, sentence);
        }
    }
}
