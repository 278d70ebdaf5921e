//! How answers are to be made: the request's parameters, by flag and by `/set parameter`.
//!
//! A parameter has the name and the bounds that the node's own gateway gives it: what is said here is read by
//! the gateway's reader before it is kept, so nothing is refused at the next question that was taken before.

use clap::Args;
use serde_json::{Map, Value, json};
use troop_gateway::limits::Limits;
use troop_gateway::nearest;
use troop_gateway::openai::chat::Chat;

/// The parameters as flags.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ParameterArgs {
    /// 0 takes the likeliest token every time
    #[arg(long, value_name = "T", help_heading = HEADING)]
    temperature: Option<f64>,
    /// Draw from the likeliest tokens that make up this much together
    #[arg(long, value_name = "P", help_heading = HEADING)]
    top_p: Option<f64>,
    /// Draw from so many of the likeliest tokens; 0 for all
    #[arg(long, value_name = "N", help_heading = HEADING)]
    top_k: Option<u32>,
    /// Draw only from tokens at least so likely, against the likeliest
    #[arg(long, value_name = "P", help_heading = HEADING)]
    min_p: Option<f64>,
    /// More than 1 makes what was said less likely
    #[arg(long, value_name = "X", help_heading = HEADING)]
    repeat_penalty: Option<f64>,
    /// Takes off by how often a token was said
    #[arg(long, value_name = "X", help_heading = HEADING)]
    frequency_penalty: Option<f64>,
    /// Takes off once a token was said
    #[arg(long, value_name = "X", help_heading = HEADING)]
    presence_penalty: Option<f64>,
    /// The same seed gives the same answer
    #[arg(long, value_name = "N", help_heading = HEADING)]
    seed: Option<u64>,
    /// Tokens of the answer, at most
    #[arg(long, value_name = "N", help_heading = HEADING)]
    max_tokens: Option<u32>,
    /// Ends the answer before this text; repeatable
    #[arg(long, value_name = "TEXT", help_heading = HEADING)]
    stop: Vec<String>,
}

/// The parameters that are set, and the answer's form.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Settings {
    parameters: Map<String, Value>,
    /// What `response_format` says, if it says anything.
    format: Option<Value>,
}

impl Settings {
    pub(super) fn of(args: &ParameterArgs) -> Result<Settings, String> {
        let stop = (!args.stop.is_empty()).then(|| json!(args.stop));
        let said = [
            ("temperature", args.temperature.map(Value::from)),
            ("top_p", args.top_p.map(Value::from)),
            ("top_k", args.top_k.map(Value::from)),
            ("min_p", args.min_p.map(Value::from)),
            ("repeat_penalty", args.repeat_penalty.map(Value::from)),
            ("frequency_penalty", args.frequency_penalty.map(Value::from)),
            ("presence_penalty", args.presence_penalty.map(Value::from)),
            ("seed", args.seed.map(Value::from)),
            ("max_tokens", args.max_tokens.map(Value::from)),
            ("stop", stop),
        ];
        let mut settings = Settings::default();
        for (name, value) in said {
            if let Some(value) = value {
                settings.parameters.insert(name.to_owned(), value);
            }
        }
        settings.checked()
    }

    /// The same with a parameter as a person types it: nothing or `default` takes it back.
    pub(super) fn with(&self, name: &str, words: &[String]) -> Result<Settings, String> {
        let Some((name, kind)) = NAMES.iter().find(|(known, _)| *known == name) else {
            let names = NAMES.iter().map(|(name, _)| *name);
            return Err(match nearest(name, names.clone()) {
                Some(near) => format!("there is no parameter {name:?}; did you mean {near}?"),
                None => {
                    let names = names.collect::<Vec<_>>().join(", ");
                    format!("there is no parameter {name:?}; there is {names}")
                }
            });
        };
        let mut settings = self.clone();
        if words.is_empty() || words == ["default"] {
            settings.parameters.shift_remove(*name);
            return Ok(settings);
        }
        let value = match (kind, words) {
            (Kind::Texts, words) => json!(words),
            (Kind::Number, [word]) => number(word).ok_or(format!("{name} must be a number"))?,
            (Kind::Number, _) => return Err(format!("{name} must be one number")),
        };
        settings.parameters.insert((*name).to_owned(), value);
        settings.checked()
    }

    /// The same with parameters and a format that were kept in a file.
    pub(super) fn of_kept(parameters: &Value, format: Option<&Value>) -> Result<Settings, String> {
        let object = parameters.as_object();
        let object = object.ok_or("parameters must be an object")?;
        let known = |name: &String| NAMES.iter().any(|(known, _)| known == name);
        if let Some(name) = object.keys().find(|name| !known(name)) {
            return Err(format!("there is no parameter {name:?}"));
        }
        let format = format.filter(|format| !format.is_null()).cloned();
        let parameters = object.clone();
        Settings { parameters, format }.checked()
    }

    /// The same with answers in another form: `None` for plain text.
    pub(super) fn formatted(&self, format: Option<Value>) -> Result<Settings, String> {
        let parameters = self.parameters.clone();
        Settings { parameters, format }.checked()
    }

    /// What is set, in the order in which it was.
    pub(super) fn parameters(&self) -> &Map<String, Value> {
        &self.parameters
    }

    pub(super) fn format(&self) -> Option<&Value> {
        self.format.as_ref()
    }

    /// The request that asks `model` for the turn after `messages`.
    pub(super) fn request(&self, model: &str, messages: Vec<Value>) -> Map<String, Value> {
        let mut request = Map::new();
        request.insert("model".to_owned(), model.into());
        request.insert("messages".to_owned(), messages.into());
        request.insert("stream".to_owned(), true.into());
        request.insert(
            "stream_options".to_owned(),
            json!({ "include_usage": true }),
        );
        request.extend(self.parameters.clone());
        if let Some(format) = &self.format {
            request.insert("response_format".to_owned(), format.clone());
        }
        request
    }

    /// Itself, if the gateway's own reader takes it.
    fn checked(self) -> Result<Settings, String> {
        let request = self.request("any", vec![json!({ "role": "user", "content": "any" })]);
        match Chat::read(&request, &Limits::default()) {
            Ok(_) => Ok(self),
            Err(problem) => Err(problem.message),
        }
    }
}

/// The form of an answer that must fit `schema`, named after the file it came from.
pub(super) fn schema_format(name: &str, schema: Value) -> Value {
    let lawful = |c: &char| c.is_ascii_alphanumeric() || *c == '_' || *c == '-';
    let name: String = name.chars().filter(lawful).take(64).collect();
    let name = if name.is_empty() {
        "answer".to_owned()
    } else {
        name
    };
    json!({
        "type": "json_schema",
        "json_schema": { "name": name, "strict": true, "schema": schema },
    })
}

/// The form of an answer that is any JSON object.
pub(super) fn json_format() -> Value {
    json!({ "type": "json_object" })
}

/// A whole number as one, since a seed may have more digits than a float keeps.
fn number(word: &str) -> Option<Value> {
    let whole = word.parse::<u64>().map(Value::from);
    let whole = whole.or_else(|_| word.parse::<i64>().map(Value::from));
    whole.ok().or_else(|| {
        let number: f64 = word.parse().ok()?;
        serde_json::Number::from_f64(number).map(Value::Number)
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Number,
    Texts,
}

/// Every parameter that can be set, in the gateway's words.
const NAMES: &[(&str, Kind)] = &[
    ("temperature", Kind::Number),
    ("top_p", Kind::Number),
    ("top_k", Kind::Number),
    ("min_p", Kind::Number),
    ("repeat_penalty", Kind::Number),
    ("frequency_penalty", Kind::Number),
    ("presence_penalty", Kind::Number),
    ("seed", Kind::Number),
    ("max_tokens", Kind::Number),
    ("stop", Kind::Texts),
];
const HEADING: &str = "How the answer is made";

#[cfg(test)]
mod tests {
    use super::*;

    fn set(settings: &Settings, name: &str, words: &[&str]) -> Result<Settings, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        settings.with(name, &words)
    }

    #[test]
    fn a_parameter_is_kept_only_if_the_node_would_take_it() {
        let none = Settings::default();
        let cases: &[(&str, &[&str], &str)] = &[
            ("temperature", &["9"], "temperature"),
            ("temperature", &["warm"], "must be a number"),
            ("temperature", &["0.2", "0.3"], "must be one number"),
            ("temperature", &["nan"], "must be a number"),
            ("top_p", &["1.5"], "top_p"),
            ("max_tokens", &["0"], "max_tokens"),
            ("stop", &["a", "b", "c", "d", "e"], "stop"),
            ("temperatur", &["1"], "did you mean temperature?"),
            ("model", &["other"], "there is temperature, "),
        ];
        for (name, words, said) in cases {
            let refusal = set(&none, name, words).expect_err(name);
            assert!(refusal.contains(said), "{name}: {refusal}");
        }
        let big = "18446744073709551615";
        let some = set(&none, "seed", &[big]).and_then(|it| set(&it, "temperature", &["0.2"]));
        let some = set(&some.unwrap(), "stop", &["\n\n", "END"]).unwrap();
        let text = serde_json::to_string(some.parameters()).unwrap();
        assert_eq!(
            text,
            format!(r#"{{"seed":{big},"temperature":0.2,"stop":["\n\n","END"]}}"#)
        );
        let less = set(&some, "seed", &[]).unwrap();
        let less = set(&less, "stop", &["default"]).unwrap();
        assert_eq!(less.parameters().len(), 1);
    }

    #[test]
    fn every_parameter_is_a_flag_too() {
        let args = ParameterArgs {
            temperature: Some(0.5),
            top_p: Some(0.5),
            top_k: Some(5),
            min_p: Some(0.5),
            repeat_penalty: Some(1.5),
            frequency_penalty: Some(0.5),
            presence_penalty: Some(0.5),
            seed: Some(5),
            max_tokens: Some(5),
            stop: vec!["5".to_owned()],
        };
        let settings = Settings::of(&args).unwrap();
        let names: Vec<_> = settings.parameters().keys().map(String::as_str).collect();
        let known: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, known);
    }
}
