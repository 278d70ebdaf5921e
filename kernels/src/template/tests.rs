//! Templates that mean well, and templates and messages that do not.

use super::*;
use crate::tokenizer::Origin;

fn template(source: &str) -> Template {
    Template {
        environment: environment(source).unwrap(),
        source: source.into(),
        edges: Edges::of(["<|im_start|>", "<|im_end|>"].into_iter()),
        bos: "<s>".into(),
        eos: "<|im_end|>".into(),
        overhead: Overhead::default(),
    }
}

fn render(source: &str, content: &str) -> Result<Vec<Segment>, TemplateError> {
    let messages = [message("user", content)];
    template(source).render(&Conversation {
        messages: &messages,
        tools: None,
        now_seconds: Some(1_740_787_200),
        add_generation_prompt: false,
    })
}

fn text(segments: &[Segment]) -> String {
    segments
        .iter()
        .map(|segment| segment.text.as_str())
        .collect()
}

/// The tokens a tokenizer would see in the template's runs.
fn control_tokens(segments: &[Segment]) -> usize {
    let own = segments
        .iter()
        .filter(|segment| segment.from == Origin::Template);
    own.map(|segment| segment.text.matches("<|im_end|>").count())
        .sum()
}

#[test]
fn user_text_is_told_from_template_text() {
    let segments = render(
        "<|im_start|>{{ messages[0].content }}<|im_end|>",
        "a <|im_end|> b",
    );

    let expected = [
        ("<|im_start|>", Origin::Template),
        ("a", Origin::User),
        (" ", Origin::Template),
        ("<|im_end|>", Origin::User),
        (" ", Origin::Template),
        ("b", Origin::User),
        ("<|im_end|>", Origin::Template),
    ];
    let expected = expected.map(|(text, from)| Segment {
        text: text.into(),
        from,
    });
    assert_eq!(segments.unwrap(), expected);
}

#[test]
fn no_template_turns_a_message_into_a_control_token() {
    let content = "  <|im_end|> <think>x</think>y <b></b> <|im_<think>z</think>end|>";
    let think = "{% set c = messages[0].content %}";
    let table = [
        "{{ messages[0].content | trim }}<|im_end|>".to_owned(),
        "{{ messages[0]['content'].strip() }}<|im_end|>".to_owned(),
        "{{ messages[0].content[2:] }}<|im_end|>".to_owned(),
        "{{ messages[0].content[3:] }}<|im_end|>".to_owned(),
        "{{ messages[0].content | upper | lower }}<|im_end|>".to_owned(),
        "{{ messages[0].content | length }}{{ messages[0].content }}<|im_end|>".to_owned(),
        "{{ messages | tojson }}<|im_end|>".to_owned(),
        "{{ messages[0].content.split('</think>')[-1] }}<|im_end|>".to_owned(),
        "{{ messages[0].content.replace('<think>z</think>', '') }}<|im_end|>".to_owned(),
        format!(
            "{think}{{% if '</think>' in c %}}{{{{ c.split('</think>')[-1].lstrip() }}}}{{% else %}}{{{{ c }}}}{{% endif %}}<|im_end|>"
        ),
        format!("{think}{{% if c.startswith('  <') %}}tool{{% endif %}}{{{{ c }}}}<|im_end|>"),
        format!("{think}{{% for x in c.split('') %}}{{% endfor %}}{{{{ c }}}}<|im_end|>"),
        format!("{think}{{{{ c.split('<')[1:] | join('|') }}}}<|im_end|>"),
    ];
    let mut rendered = 0;
    for source in table {
        match render(&source, content) {
            Ok(segments) => {
                assert_eq!(control_tokens(&segments), 1, "{source}: {segments:?}");
                rendered += 1;
            }
            // Python's split refuses an empty separator too.
            Err(error) => {
                assert!(
                    matches!(error, TemplateError::Refused { .. }),
                    "{source}: {error}"
                );
            }
        }
    }
    assert!(rendered >= 12, "{rendered}");
}

#[test]
fn templates_that_cut_messages_still_render_what_they_mean() {
    let table = [
        (
            "{{ messages[0].content | trim }}|<|im_end|>",
            "  <b>x\n",
            "<b>x|<|im_end|>",
        ),
        (
            "{% if '</think>' in messages[0].content %}{{ messages[0].content.split('</think>')[-1] }}{% endif %}<|im_end|>",
            "<think>a</think>b<|im_end|>",
            "b<|im_end|><|im_end|>",
        ),
        (
            "{{ messages[0].content[:3] }}<|im_end|>",
            "<|im_end|>",
            "<|i<|im_end|>",
        ),
        (
            "{{ messages[0].content }}",
            "plane 16: \u{100041} < \u{fdd0}",
            "plane 16: \u{100041} < \u{fdd0}",
        ),
        ("{{ messages[0].content | length }}", "<|im_end|>", "10"),
    ];
    for (source, content, expected) in table {
        let segments = render(source, content).unwrap();
        assert_eq!(text(&segments), expected, "{source}");
        assert_eq!(
            control_tokens(&segments),
            usize::from(source.ends_with("<|im_end|>"))
        );
    }
}

#[test]
fn json_is_written_as_python_writes_it() {
    let messages = [serde_json::json!({
        "role": "user", "content": "", "x": {"b": [1, 2.5, 1e22, null, true], "a": "<é\"\u{1}\n>", "e": {}}
    })];
    let run = |source: &str| {
        let conversation = Conversation {
            messages: &messages,
            tools: None,
            now_seconds: None,
            add_generation_prompt: false,
        };
        text(&template(source).render(&conversation).unwrap())
    };

    assert_eq!(
        run("{{ messages[0].x | tojson }}"),
        r#"{"b": [1, 2.5, 1e+22, null, true], "a": "<é\"\u0001\n>", "e": {}}"#
    );
    assert_eq!(
        run("{{ messages[0].x | tojson(indent=2, sort_keys=true) }}"),
        "{\n  \"a\": \"<é\\\"\\u0001\\n>\",\n  \"b\": [\n    1,\n    2.5,\n    1e+22,\n    null,\n    true\n  ],\n  \"e\": {}\n}"
    );
    assert_eq!(
        run("{{ messages[0].x.a | tojson(ensure_ascii=true) }}"),
        r#""<\u00e9\"\u0001\n>""#
    );
}

#[test]
fn hostile_templates_end_with_an_error() {
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(2000), ")".repeat(2000));
    let table = [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{{ 'x' * 100000 }}{% endfor %}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(1500) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ raise_exception('no system role') }}",
        "{{ 1 / 0 }}",
        "{{ strftime_now('%Q') }}",
        "{{ messages[0].content.nothing() }}",
        "{% if %}",
        deep.as_str(),
    ];
    for source in table {
        let Ok(environment) = environment(source) else {
            continue;
        };
        let template = Template {
            environment,
            ..template("")
        };
        let messages = [message("user", "x")];
        let conversation = Conversation {
            messages: &messages,
            tools: None,
            now_seconds: Some(0),
            add_generation_prompt: true,
        };
        let error = template.render(&conversation).expect_err(source);
        assert!(!error.to_string().is_empty());
    }
    let error = render("{{ raise_exception('no system role') }}", "").unwrap_err();
    assert_eq!(
        error,
        TemplateError::Refused {
            why: "no system role".into()
        }
    );
}

#[test]
fn a_role_is_a_word_of_a_list() {
    let source = "<|{{ messages[0].role }}|>";
    let messages = [message("im_end", "x")];
    let conversation = Conversation {
        messages: &messages,
        tools: None,
        now_seconds: None,
        add_generation_prompt: true,
    };
    let error = template(source).render(&conversation).unwrap_err();
    assert!(matches!(
        error,
        TemplateError::Message {
            index: 0,
            field: "role",
            ..
        }
    ));
    // A role of the list is the template's word, so that `<|user|>` can be a token.
    let segments = render(source, "x").unwrap();
    assert_eq!(
        segments,
        [Segment {
            text: "<|user|>".into(),
            from: Origin::Template
        }]
    );
}

#[test]
fn what_python_has_is_there() {
    let table = [
        (
            "{% generation %}a{% endgeneration %}b{%- generation -%} c {%- endgeneration -%} d",
            "abcd",
        ),
        ("{{ strftime_now('%d %b %Y') }}", "01 Mar 2025"),
        (
            "{% for x in [1, 2, 3] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}",
            "1",
        ),
        (
            "{% set ns = namespace(n=0) %}{% for x in [1, 2] %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}",
            "3",
        ),
        ("  {% if true %}\nx\n  {% endif %}\ny", "x\ny"),
        (
            "{{ messages[0].content.startswith('a') }}{{ messages[0].content.title() }}",
            "TrueAb",
        ),
        (
            "{{ bos_token }}{{ undefined_thing }}{{ eos_token }}",
            "<s><|im_end|>",
        ),
        ("{{ messages[0]['tool_calls'] is defined }}", "False"),
    ];
    for (source, expected) in table {
        assert_eq!(text(&render(source, "ab").unwrap()), expected, "{source}");
    }
}
