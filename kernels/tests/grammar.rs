//! What a grammar lets through, with the vocabularies of the real models and no model: tokens are drawn from
//! what is allowed, and what comes of them is judged.

#[path = "support/json_schema.rs"]
mod json_schema;
#[path = "support/text.rs"]
mod support;

use json_schema::{Dice, fault, schema};
use serde_json::{Value, json};
use troop_kernels::gguf::Gguf;
use troop_kernels::grammar::{Grammar, Grammars, Matcher, Wanted};
use troop_kernels::tokenizer::Tokenizer;

struct Words {
    tokenizer: Tokenizer,
    grammars: Grammars,
}

impl Words {
    fn of(file: &[u8]) -> Words {
        let tokenizer = Tokenizer::load(&Gguf::parse(file).unwrap()).unwrap();
        #[allow(clippy::disallowed_methods, reason = "the time is only reported")]
        let started = std::time::Instant::now();
        let grammars = Grammars::new(&tokenizer).unwrap();
        eprintln!("{} tokens: {:?}", tokenizer.vocabulary(), started.elapsed());
        Words {
            tokenizer,
            grammars,
        }
    }

    fn schema(&self, schema: &Value) -> Grammar {
        let text = schema.to_string();
        let grammar = self.grammars.compile(Wanted::Schema(&text));
        grammar.unwrap_or_else(|error| panic!("{error}: {schema}"))
    }

    /// Draws from what is allowed until it is complete.
    fn draw(&self, matcher: &mut Matcher, dice: &mut Dice) -> (Vec<u32>, String) {
        let (mut ids, mut bytes) = (Vec::new(), Vec::new());
        while !matcher.is_over() {
            let mask = matcher.mask().unwrap().expect("not all is allowed");
            let allowed = allowed(&mask);
            let ends = allowed.iter().any(|id| self.tokenizer.is_end(*id));
            assert_eq!(
                ends,
                matcher.may_end(),
                "{:?}",
                String::from_utf8_lossy(&bytes)
            );
            // What closes comes as often as what goes on, or no string would end.
            let closing = |id: &u32| self.tokenizer.piece(*id).contains(&b'"');
            let closers: Vec<u32> = allowed.iter().copied().filter(closing).collect();
            let from = match dice.roll(2) {
                0 if !closers.is_empty() => &closers,
                _ => &allowed,
            };
            let id = from[dice.roll(from.len())];
            if self.tokenizer.is_end(id) {
                break;
            }
            assert!(!self.tokenizer.control(id));
            matcher.accept(id).unwrap();
            ids.push(id);
            bytes.extend_from_slice(self.tokenizer.piece(id));
            assert!(ids.len() < 2_000, "{}", String::from_utf8_lossy(&bytes));
        }
        (ids, String::from_utf8(bytes).unwrap())
    }
}

fn allowed(mask: &[u32]) -> Vec<u32> {
    let bits = |(word, bits): (usize, &u32)| {
        let bits = *bits;
        (0..32)
            .filter(move |bit| bits >> bit & 1 == 1)
            .map(move |bit| word as u32 * 32 + bit)
    };
    mask.iter().enumerate().flat_map(bits).collect()
}

#[test]
fn whatever_is_drawn_is_valid_by_its_schema() {
    for (file, schemas) in [(support::model(), 60), (support::gemma(), 10)] {
        let words = Words::of(&file);
        for seed in 0..schemas {
            let mut dice = Dice::new(seed);
            let schema = schema(&mut dice);
            let mut matcher = words.schema(&schema).begin();
            let (_, text) = words.draw(&mut matcher, &mut dice);
            let document: Value =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(fault(&schema, &document), None, "seed {seed}");
        }
    }
}

#[test]
fn the_set_is_a_function_of_the_tokens_so_far() {
    let words = Words::of(&support::model());
    for seed in 100..110 {
        let mut dice = Dice::new(seed);
        let schema = schema(&mut dice);
        let grammar = words.schema(&schema);
        let (ids, _) = words.draw(&mut grammar.begin(), &mut dice);
        // Elsewhere, where other answers were made of the same grammar before.
        let (mut here, mut there) = (grammar.begin(), words.schema(&schema).begin());
        for id in &ids {
            assert_eq!(here.mask(), there.mask());
            here.accept(*id).unwrap();
            there.accept(*id).unwrap();
        }
        assert_eq!(here.is_over(), there.is_over());
    }
}

#[test]
fn nothing_goes_on_forever_between_two_things() {
    let words = Words::of(&support::model());
    let piece = |id: &u32| words.tokenizer.piece(*id);
    let matcher = words.schema(&json!({"type": "object", "properties": {"a": {"type": "number"}}}));
    let begun = |text: &str| {
        let mut matcher = matcher.begin();
        let ids = words
            .tokenizer
            .encode(text, troop_kernels::tokenizer::Specials::Text, false)
            .unwrap();
        for id in ids {
            matcher.accept(id).unwrap();
        }
        allowed(&matcher.mask().unwrap().unwrap())
    };
    let digits = |text: &str| {
        begun(text)
            .iter()
            .any(|id| piece(id).first().is_some_and(u8::is_ascii_digit))
    };
    assert!(digits("{\"a\": 1.333"));
    assert!(!digits("{\"a\": 1.33333333333333333"));
    assert!(!digits("{\"a\": 123456789012345678"));
    // Its digits must come, so they may.
    assert!(digits("{\"a\": 12345678901234567."));
    let blank = |text: &str| {
        begun(text)
            .iter()
            .any(|id| piece(id).first().is_some_and(u8::is_ascii_whitespace))
    };
    assert!(blank("{\"a\":"));
    for text in ["{", "{\"a\"", "{\"a\": ", "{\"a\": 1"] {
        assert!(!blank(text), "{text}");
    }
}

#[test]
fn calls_are_written_as_they_are_read() {
    let words = Words::of(&support::model());
    let tools = json!([
        {"type": "function", "function": {"name": "weather.now", "parameters": {
            "type": "object", "properties": {"city": {"type": "string", "maxLength": 9}},
            "required": ["city"], "additionalProperties": false}}},
        {"type": "function", "function": {"name": "stop"}},
    ]);
    let text = tools.to_string();
    let calls = |allowed: &[String], forced, many| {
        let wanted = Wanted::Calls {
            tools: &text,
            allowed,
            forced,
            many,
        };
        words.grammars.compile(wanted)
    };
    for seed in 0..20 {
        let mut matcher = calls(&[], true, seed % 2 == 0).unwrap().begin();
        let (_, text) = words.draw(&mut matcher, &mut Dice::new(seed));
        let all: Vec<&str> = text.split("</tool_call>").collect();
        let (last, calls) = all.split_last().unwrap();
        assert_eq!(*last, "");
        assert!((1..=8).contains(&calls.len()) && (calls.len() == 1 || seed % 2 == 0));
        for call in calls {
            let call = call
                .trim_start_matches('\n')
                .strip_prefix("<tool_call>\n")
                .unwrap();
            let call: Value = serde_json::from_str(call).unwrap();
            match call["name"].as_str().unwrap() {
                "weather.now" => assert!(call["arguments"]["city"].is_string()),
                "stop" => assert_eq!(call["arguments"], json!({})),
                other => panic!("{other}"),
            }
        }
    }
    let named = calls(&["stop".to_owned()], true, false).unwrap();
    let (_, text) = words.draw(&mut named.begin(), &mut Dice::new(0));
    assert!(text.contains("\"stop\""));
    assert!(calls(&["other".to_owned()], true, false).is_err());

    // Free text, until a call begins; what begins like one and is none stays text.
    let mut free = calls(&[], false, false).unwrap().begin();
    let mut say = |text: &str| {
        for id in words
            .tokenizer
            .encode(text, troop_kernels::tokenizer::Specials::Text, false)
            .unwrap()
        {
            free.accept(id).unwrap();
        }
        (free.mask().unwrap().is_some(), free.may_end())
    };
    assert_eq!(say("Let me <tool_calls> see <tool"), (false, true));
    assert_eq!(say("_call>"), (true, false));
    assert_eq!(
        say("\n{\"name\": \"stop\", \"arguments\": {}}\n"),
        (true, false)
    );
    for id in words
        .tokenizer
        .encode(
            "</tool_call>",
            troop_kernels::tokenizer::Specials::Text,
            false,
        )
        .unwrap()
    {
        free.accept(id).unwrap();
    }
    assert!(free.is_over() && free.may_end());
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the time is what is tested")]
fn hostile_schemas_end_with_an_error_or_a_grammar_in_time() {
    let words = Words::of(&support::model());
    let nest = |count: usize, wrap: &dyn Fn(Value) -> Value| {
        (0..count).fold(json!({"type": "string"}), |inner, _| wrap(inner))
    };
    let many = |count: usize, of: &dyn Fn(usize) -> Value| -> Value {
        let map: serde_json::Map<_, _> = (0..count)
            .map(|index| (format!("p{index}"), of(index)))
            .collect();
        json!({"type": "object", "properties": map})
    };
    let pair = |index: usize| {
        let one = |name: &str| many(1, &|_| json!({"const": format!("{name}{index}")}));
        json!({"anyOf": [one("a"), one("b")]})
    };
    let doubled: serde_json::Map<_, _> = (0..30)
        .map(|index| {
            let below = json!({"$ref": format!("#/$defs/d{}", index + 1)});
            (
                format!("d{index}"),
                json!({"allOf": [{"anyOf": [below, below]}, {"anyOf": [below, below]}]}),
            )
        })
        .chain([("d30".to_owned(), json!({"type": "string"}))])
        .collect();
    let cases = [
        json!({"$ref": "#"}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"$ref": "#/$defs/d0", "$defs": doubled}),
        nest(47, &|inner| json!({ "items": inner })),
        nest(47, &|inner| json!({ "allOf": [inner] })),
        nest(
            12,
            &|inner| json!({ "anyOf": [inner, {"type": "null"}, inner] }),
        ),
        many(501, &|_| json!({"type": "string"})),
        many(500, &|_| json!({"type": "string"})),
        json!({"$defs": {"a": many(500, &|index| json!({"enum": [index]}))},
            "anyOf": (0..3).map(|_| many(400, &|_| json!({"$ref": "#/$defs/a"}))).collect::<Vec<_>>()}),
        many(
            300,
            &|index| json!({"type": "string", "pattern": format!("^(a|b{index})*c{{1,50}}$")}),
        ),
        json!({"type": "string", "pattern": "^(((a{0,99}){0,99}){0,99}){0,99}$"}),
        json!({"type": "string", "pattern": "(a|aa|aaa)*(b|bb)*[^c]{100}$"}),
        json!({"type": "string", "pattern": "(?=look)(?!ahead)"}),
        json!({"type": "string", "pattern": "("}),
        json!({"type": "string", "minLength": 99_999, "maxLength": 100_000}),
        json!({"type": "array", "minItems": 99_999, "maxItems": 100_000}),
        json!({"type": "string", "format": "email"}),
        json!({"type": "string", "format": "uri"}),
        json!({"type": "string", "format": "hostname"}),
        json!({"type": "string", "format": "date-time"}),
        json!({"type": "string", "format": "duration"}),
        json!({"type": "string", "format": "hostname", "minLength": 250, "maxLength": 253}),
        json!({"type": "number", "multipleOf": 1e-300}),
        json!({"type": "integer", "minimum": -9e15, "maximum": 9e15, "multipleOf": 7919}),
        json!({"allOf": (0..10).map(pair).collect::<Vec<_>>()}),
        json!({"$defs": {"pairs": {"allOf": (0..7).map(pair).collect::<Vec<_>>()}}, "allOf": [
            many(60, &|_| json!({"$ref": "#/$defs/pairs"})),
            many(60, &|index| json!({"properties": {format!("c{index}"): {}}})),
        ]}),
        json!({"enum": (0..1000).map(|index| "x".repeat(index % 200)).collect::<Vec<_>>()}),
        json!({"patternProperties": {"^a": {"type": "string"}, "^ab": {"type": "null"}}}),
        json!(false),
        json!({"type": "string", "enum": [1]}),
        json!({"type": "object", "required": ["a"], "properties": {"a": false}}),
    ];
    for schema in cases {
        let text = schema.to_string();
        let shown: String = text.chars().take(90).collect();
        let started = std::time::Instant::now();
        let compiled = words.grammars.compile(Wanted::Schema(&text));
        let compiling = started.elapsed();
        match compiled {
            Ok(grammar) => {
                let mut matcher = grammar.begin();
                let mut dice = Dice::new(1);
                let mut worst = std::time::Duration::ZERO;
                for _ in 0..40 {
                    let started = std::time::Instant::now();
                    let mask = matcher.mask();
                    worst = worst.max(started.elapsed());
                    let Ok(Some(mask)) = mask else { break };
                    let allowed = allowed(&mask);
                    let id = allowed[dice.roll(allowed.len())];
                    if words.tokenizer.is_end(id)
                        || matcher.accept(id).is_err()
                        || matcher.is_over()
                    {
                        break;
                    }
                }
                eprintln!("{shown}: {compiling:?}, a mask {worst:?}");
                // Alone below 0.1 s. Machines that run tests are shared.
                assert!(worst.as_secs() < 5, "{shown}");
            }
            Err(error) => {
                eprintln!("{shown}: {compiling:?}, {error}");
                assert!(!error.why.is_empty() && error.why.len() < 1500);
            }
        }
        assert!(compiling.as_secs() < 10, "{shown}");
    }
}

#[test]
fn what_does_not_compile_is_blamed_where_it_stands() {
    let words = Words::of(&support::model());
    for (part, at) in [
        (
            json!({"type": "string", "pattern": "("}),
            "/properties/a/items",
        ),
        (
            json!({"type": "string", "pattern": "(?=x)y"}),
            "/properties/a/items",
        ),
        (
            json!({"type": "integer", "minimum": 3, "maximum": 2}),
            "/properties/a/items",
        ),
        (json!({"not": {}}), "/properties/a/items/not"),
    ] {
        let schema = json!({"type": "object", "required": ["a"], "properties": {
            "b": {"type": "string"}, "a": {"type": "array", "minItems": 1, "items": part}}});
        let error = words
            .grammars
            .compile(Wanted::Schema(&schema.to_string()))
            .unwrap_err();
        assert_eq!(error.at, at, "{error}");
        eprintln!("{error}");
    }
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"not": {}}}}]);
    let wanted = Wanted::Calls {
        tools: &tools.to_string(),
        allowed: &[],
        forced: true,
        many: false,
    };
    let error = words.grammars.compile(wanted).unwrap_err();
    assert_eq!(error.at, "/0/function/parameters/not");
}
