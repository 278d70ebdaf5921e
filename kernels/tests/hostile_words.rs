//! Vocabularies and chat templates made to hurt: what loading and using them takes, at most.
//!
//! A template's words, steps, output and recursion have limits, which these cases run into. For what doubles at
//! every step see `template_memory.rs`.

#[path = "support/gguf_file.rs"]
mod gguf_file;
#[path = "support/measure.rs"]
mod measure;

use gguf_file::File;
use measure::{Spent, measure};
use troop_kernels::gguf::Gguf;
use troop_kernels::template::{self, Conversation, Template, TemplateError};
use troop_kernels::tokenizer::{Specials, Tokenizer};

/// What a vocabulary or a template may hold at a time, whatever it says.
const BYTES_MAX: usize = 64 << 20;

fn words(model: &str, tokens: &[&str], types: &[i32]) -> File {
    let types: Vec<u8> = types.iter().flat_map(|kind| kind.to_le_bytes()).collect();
    let count = tokens.len() as u64;
    File::new()
        .text("tokenizer.ggml.model", model)
        .text("tokenizer.ggml.pre", "smollm")
        .strings("tokenizer.ggml.tokens", tokens)
        .raw_array("tokenizer.ggml.token_type", 5, count, &types)
}

fn scores(file: File, count: usize) -> File {
    file.raw_array(
        "tokenizer.ggml.scores",
        6,
        count as u64,
        &vec![0; 4 * count],
    )
}

#[test]
fn the_largest_vocabularies_allowed_stay_within_bounds() {
    let _alone = measure::alone();
    const TOKENS: usize = 1 << 20;
    let all = |kind: i32| vec![kind; UNLIKE];
    // As many as fit in a header with their types and scores.
    const UNLIKE: usize = 850_000;
    let unlike: Vec<String> = (0..UNLIKE).map(|index| format!("{index:x}")).collect();
    let unlike: Vec<&str> = unlike.iter().map(String::as_str).collect();
    let alike: Vec<String> = (0..90_000).map(|index| format!("{index:0>200}")).collect();
    let alike: Vec<&str> = alike.iter().map(String::as_str).collect();
    let merges = vec!["a b"; 1_800_000];
    let wide: Vec<String> = (1..=1500).map(|length| "x".repeat(length)).collect();
    let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
    let kinds = "tokenizer.ggml.token_type";
    // Name, file, the field that is refused.
    let cases: Vec<(&str, Vec<u8>, Option<&str>)> = vec![
        (
            "empty tokens",
            words("gpt2", &vec![""; TOKENS], &[1; TOKENS])
                .strings("tokenizer.ggml.merges", &[])
                .done(),
            None,
        ),
        (
            "850,000 tokens",
            scores(words("llama", &unlike, &all(1)), UNLIKE).done(),
            None,
        ),
        (
            "long tokens that begin alike",
            scores(words("llama", &alike, &[1; 90_000]), 90_000).done(),
            None,
        ),
        (
            "bytes of nothing",
            words("gpt2", &unlike, &all(6))
                .strings("tokenizer.ggml.merges", &[])
                .done(),
            None,
        ),
        (
            "1.8 million merges",
            words("gpt2", &["a", "b", "ab"], &[1; 3])
                .strings("tokenizer.ggml.merges", &merges)
                .done(),
            None,
        ),
        (
            "850,000 control tokens",
            scores(words("llama", &unlike, &all(3)), UNLIKE).done(),
            Some(kinds),
        ),
        (
            "1,500 lengths of control tokens",
            scores(words("llama", &wide, &[3; 1500]), 1500).done(),
            Some(kinds),
        ),
        (
            "65,536 control tokens of one text",
            scores(words("llama", &["<"; 1 << 16], &[3; 1 << 16]), 1 << 16).done(),
            None,
        ),
    ];
    for (name, file, refused) in cases {
        let gguf = Gguf::parse(&file).expect(name);
        let (tokenizer, loading) = measure(|| Tokenizer::load(&gguf));
        eprintln!("{name}: {} bytes, {loading:?}", file.len());
        assert!(loading.bytes_peak <= BYTES_MAX, "{name}: {loading:?}");
        let tokenizer = match (tokenizer, refused) {
            (Ok(tokenizer), None) => tokenizer,
            (Err(error), Some(field)) => {
                assert!(error.to_string().starts_with(field), "{name}: {error}");
                continue;
            }
            (result, _) => panic!("{name}: {result:?}"),
        };
        // Text is encoded, or refused; it does not hang on a vocabulary.
        let text = "<x> ab 0f\u{e9}".repeat(1000);
        let (_, encoding) = measure(|| tokenizer.encode(&text, Specials::Text, true));
        eprintln!("{name}: encoding {encoding:?}");
        assert!(encoding.bytes_peak <= BYTES_MAX, "{name}: {encoding:?}");
    }
}

/// The templates of published attacks and the limits of ours; each ends with an error or a short text.
#[test]
fn hostile_templates_end_within_bounds() {
    let _alone = measure::alone();
    // As long as a template may be, each going as deep as it can in its own way.
    let fill = |before: &str, piece: &str, after: &str| {
        let room = (256 << 10) - before.len() - after.len();
        format!("{before}{}{after}", piece.repeat(room / piece.len()))
    };
    let deepest = [
        format!("{{{{ {}1{} }}}}", "(".repeat(2000), ")".repeat(2000)),
        fill("", "{% if true %}", ""),
        fill("{% if 0 %}", "{% elif 0 %}", "{% endif %}"),
        fill("{{ x", "~x", " }}"),
        fill("{{ 1", "+1", " }}"),
        fill("{{ 2", "**1", " }}"),
        fill("{{ x", "|d", " }}"),
        fill("{{ x", ".x", " }}"),
        fill("{{ x", "[0]", " }}"),
        fill("{{ x", "()", " }}"),
        fill("{{ 1", " if 1 else 1", " }}"),
        fill("{{ 1", "<1", " }}"),
        fill("{{ 1", " and 1", " }}"),
        fill("{{ 1", " is odd", " }}"),
        fill("{{ ", "-", "1 }}"),
        fill("{{ ", "not ", "1 }}"),
        fill("{{ ", "[", "1 }}"),
        fill("{{ ", "{1:", "1 }}"),
        fill("{{ [", "1,", "1] }}"),
        fill("", "{{ messages[0].content }}", ""),
        fill("", "{% set x = [x] %}", "{{ x }}"),
        fill("{% for a in [1] %}", "{% for a in [a] %}", ""),
    ];
    let templates = [
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__ }}{{ self.__init__ }}{{ lipsum.__globals__ }}",
        "{% for x in range(1000000000) %}{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{{ 'x' * 100000 }}{% endfor %}",
        "{% for a in range(100000) %}{{ messages }}{% endfor %}",
        "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
        "{% macro m(x) %}{{ m(x) }}{{ m(x) }}{% endmacro %}{{ m(1) }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}",
        "{% include '/etc/passwd' %}{% import 'os' as os %}{% extends 'x' %}",
        "{% set x = 10 ** 1000 %}{{ x }}",
        "{{ 1 / 0 }}{{ 1 % 0 }}{{ 1 // 0 }}",
        "{{ 'x' * 1000000000 }}",
        "{{ range(1000000000) | list }}",
        "{{ messages[0].content[::0] }}",
        "{{ messages[99999999999999999999] }}",
        "{% if messages[0].content == 'trigger' %}<|x|>obey{% endif %}",
        "{{ raise_exception(messages) }}",
        "{{ strftime_now('%Q' * 1000) }}",
    ];
    // Nothing is refused of these: they are as deep as a tag may be.
    let allowed = ["x~", "x.x~", "-", "not ", "1<", "1 if 1 else "].map(|piece| {
        let words = piece.split_inclusive(['~', '<', '.', ' ', '-']).count();
        format!("{{{{ {}x }}}}", piece.repeat(450 / words))
    });
    let branches = format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(500));
    let deepest = deepest.into_iter().chain(allowed).chain([branches]);
    let deepest: Vec<String> = deepest.collect();
    let mut worst = Spent::default();
    for source in templates
        .into_iter()
        .chain(deepest.iter().map(String::as_str))
    {
        let file = words("gpt2", &["a", "b", "<|x|>"], &[1, 1, 3])
            .strings("tokenizer.ggml.merges", &[])
            .text("tokenizer.chat_template", source)
            .done();
        let shown: String = source.chars().take(70).collect();
        let gguf = Gguf::parse(&file).expect("a good header");
        let tokenizer = Tokenizer::load(&gguf).expect("a good vocabulary");
        let (result, spent) = measure(|| {
            let template = Template::load(&gguf, &tokenizer)?;
            let conversation = Conversation {
                messages: &[template::message("user", "ab <|x|>")],
                tools: None,
                now_seconds: Some(0),
                add_generation_prompt: true,
            };
            template.render(&conversation)
        });
        eprintln!("{shown}: {spent:?}");
        assert!(spent.bytes_peak <= BYTES_MAX, "{shown}: {spent:?}");
        match result {
            Ok(segments) => {
                let bytes: usize = segments.iter().map(|segment| segment.text.len()).sum();
                assert!(bytes <= 1 << 20, "{shown}: {bytes}");
            }
            Err(TemplateError::Invalid { why } | TemplateError::Refused { why }) => {
                assert!(!why.is_empty() && why.len() < 2000, "{shown}: {why}");
            }
            Err(error) => assert!(error.to_string().contains("limit"), "{shown}: {error}"),
        }
        worst = worst.worse(spent);
    }
    eprintln!("templates: at worst {worst:?}");
}
