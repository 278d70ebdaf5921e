//! Reading an object field by field, with errors that name the field by its whole path.

use crate::problem::Problem;
use serde_json::{Map, Value};

/// An object and where it stands in the body. `null` counts as absent everywhere.
#[derive(Clone, Copy)]
pub struct Fields<'a, 'p> {
    map: &'a Map<String, Value>,
    path: &'p str,
}

/// What kind of value this is, for an error message.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl<'a, 'p> Fields<'a, 'p> {
    /// The fields of `map`, which stands at `path`; the body itself at the empty path.
    pub fn new(map: &'a Map<String, Value>, path: &'p str) -> Fields<'a, 'p> {
        Fields { map, path }
    }

    /// The fields of `value`, which stands at `path`, if it is an object.
    pub fn of(value: &'a Value, path: &'p str) -> Result<Fields<'a, 'p>, Problem> {
        match value {
            Value::Object(map) => Ok(Fields { map, path }),
            other => Err(Problem::field(
                path,
                format!("{path} must be an object, not {}", kind(other)),
            )),
        }
    }

    /// The whole path of a field.
    pub fn path(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// The names of all fields, in the order of the body.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.map.keys().map(String::as_str)
    }

    /// A field, if it is there and not null.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub fn required(&self, name: &str) -> Result<&'a Value, Problem> {
        self.value(name).ok_or_else(|| {
            let path = self.path(name);
            Problem::field(&path, format!("{path} is required"))
        })
    }

    /// The problem that a field is not what it must be.
    pub fn wrong(&self, name: &str, must: &str) -> Problem {
        let path = self.path(name);
        let found = self.map.get(name).map_or("absent", kind);
        Problem::field(&path, format!("{path} must be {must}; it is {found}"))
    }

    /// The problem that a field's value is out of bounds.
    pub fn out_of_bounds(&self, name: &str, must: impl AsRef<str>) -> Problem {
        let path = self.path(name);
        Problem::field(&path, format!("{path} must be {}", must.as_ref()))
    }

    /// The problem that a field asks for something this server does not do.
    pub fn unsupported(&self, name: &str) -> Problem {
        let path = self.path(name);
        Problem {
            code: Some("unsupported_parameter"),
            ..Problem::field(
                &path,
                format!("{path} is not supported; leave it out to get an answer without it"),
            )
        }
    }

    /// A boolean.
    pub fn bool(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(self.wrong(name, "a boolean")),
        }
    }

    /// A string.
    pub fn string(&self, name: &str) -> Result<Option<&'a str>, Problem> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    /// An array.
    pub fn array(&self, name: &str) -> Result<Option<&'a [Value]>, Problem> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Array(value)) => Ok(Some(value)),
            Some(_) => Err(self.wrong(name, "an array")),
        }
    }

    /// An object.
    pub fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, Problem> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(value)) => Ok(Some(value)),
            Some(_) => Err(self.wrong(name, "an object")),
        }
    }

    /// An integer from `min` to `max`; `8.0` is one too, as some languages write it.
    pub fn integer(&self, name: &str, min: i64, max: i64) -> Result<Option<i64>, Problem> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let Value::Number(number) = value else {
            return Err(self.wrong(name, "an integer"));
        };
        let whole = match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Some(whole),
            (None, _) if number.is_u64() => Some(i64::MAX),
            (None, Some(float)) if float.fract() == 0.0 => Some(float as i64),
            _ => None,
        };
        match whole {
            None => Err(self.wrong(name, "an integer")),
            Some(whole) if (min..=max).contains(&whole) => Ok(Some(whole)),
            Some(_) if max == i64::MAX => {
                Err(self.out_of_bounds(name, format!("an integer of at least {min}")))
            }
            Some(_) => Err(self.out_of_bounds(name, format!("an integer from {min} to {max}"))),
        }
    }

    /// A number from `min` to `max`.
    pub fn number(&self, name: &str, min: f64, max: f64) -> Result<Option<f32>, Problem> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Number(number)) => match number.as_f64() {
                Some(number) if (min..=max).contains(&number) => Ok(Some(number as f32)),
                _ => Err(self.out_of_bounds(name, format!("a number from {min} to {max}"))),
            },
            Some(_) => Err(self.wrong(name, "a number")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_wrong_field_is_named_by_its_whole_path() {
        let value =
            json!({"n": "three", "big": 17, "t": 3.5, "list": {}, "whole": 8.0, "none": null});
        let fields = Fields::of(&value, "options").expect("an object");
        let refused = [
            (
                fields.integer("n", 1, 16).map(|_| ()),
                "options.n",
                "an integer",
            ),
            (
                fields.integer("big", 1, 16).map(|_| ()),
                "options.big",
                "1 to 16",
            ),
            (
                fields.integer("t", 1, 16).map(|_| ()),
                "options.t",
                "an integer",
            ),
            (
                fields.number("t", 0.0, 2.0).map(|_| ()),
                "options.t",
                "0 to 2",
            ),
            (fields.array("list").map(|_| ()), "options.list", "an array"),
            (
                fields.required("absent").map(|_| ()),
                "options.absent",
                "required",
            ),
        ];
        for (outcome, path, says) in refused {
            let problem = outcome.expect_err(path);
            assert_eq!(problem.param.as_deref(), Some(path));
            assert!(problem.message.contains(says), "{problem}");
        }
        assert_eq!(fields.integer("whole", 1, 16), Ok(Some(8)));
        assert_eq!(fields.string("none"), Ok(None));
    }
}
