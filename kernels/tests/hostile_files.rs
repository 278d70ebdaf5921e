//! Model files made to hurt: each is refused with an error that names the field, quickly, and without
//! taking memory for it. The cases are those of published holes in other readers.

#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/text.rs"]
mod support;

use hostile::{Dice, File, measure};
use troop_kernels::gguf::Gguf;
use troop_kernels::template::Template;
use troop_kernels::tokenizer::{Specials, Tokenizer};

/// What was spent on one file may be this much; the limits of the product are lower, but a machine that
/// runs tests is shared.
const MILLISECONDS_MAX: u128 = 500;
const BYTES_MAX: usize = 64 << 20;

#[test]
fn every_known_defect_is_refused_by_the_name_of_its_field() {
    let tokens = |file: File| file.strings("tokenizer.ggml.tokens", &["a", "b", "c"]);
    let plain = || File::new().text("general.architecture", "llama");
    let huge = u64::MAX;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "magic"),
        ("other magic", b"GGML\x03\0\0\0".to_vec(), "magic"),
        ("version 0", plain().version(0).done(), "version"),
        ("version 1", plain().version(1).done(), "version"),
        ("version 4", plain().version(4).done(), "version"),
        ("big-endian", plain().version(3 << 24).done(), "version"),
        ("2^63 keys", plain().keys(1 << 63).done(), "metadata count"),
        ("2^20 keys", plain().keys(1 << 20).done(), "metadata count"),
        (
            "keys beyond the end",
            plain().keys(4000).done(),
            "metadata count",
        ),
        (
            "2^63 tensors",
            plain().count(1 << 63).done(),
            "tensor count",
        ),
        (
            "2^60 tensors",
            plain().count(1 << 60).done(),
            "tensor count",
        ),
        (
            "tensors beyond the end",
            plain().count(60_000).done(),
            "tensor count",
        ),
        (
            "dimension 2^62",
            plain().tensor("t", &[1 << 62, 1 << 62], 0, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "dimension 0",
            plain().tensor("t", &[32, 0], 0, 0).done(),
            "tensor t dimension 1",
        ),
        (
            "first dimension 0",
            plain().tensor("t", &[0], 2, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "dimension 2^64-1",
            plain().tensor("t", &[huge], 0, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "dimension 2^64-32",
            plain().tensor("t", &[huge - 31], 2, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "product wraps to 0",
            plain().tensor("t", &[1 << 32, 1 << 32], 0, 0).done(),
            "tensor t dimension 1",
        ),
        (
            "product wraps to small",
            plain().tensor("t", &[1 << 33, (1 << 31) + 1], 2, 0).done(),
            "tensor t dimension 1",
        ),
        (
            "exabyte in quantized blocks",
            plain().tensor("t", &[1 << 43, 2], 2, 0).done(),
            "tensor t data",
        ),
        (
            "no dimensions",
            plain().tensor("t", &[], 0, 0).done(),
            "tensor t dimension count",
        ),
        (
            "five dimensions",
            plain().tensor("t", &[1; 5], 0, 0).done(),
            "tensor t dimension count",
        ),
        (
            "half a block",
            plain().tensor("t", &[33], 2, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "unknown format",
            plain().tensor("t", &[32], 4, 0).done(),
            "tensor t format",
        ),
        (
            "format 2^32-1",
            plain().tensor("t", &[32], u32::MAX, 0).done(),
            "tensor t format",
        ),
        (
            "offset beyond the file",
            plain().tensor("t", &[8], 0, 1 << 30).done(),
            "tensor t data",
        ),
        (
            "offset wraps",
            plain().tensor("t", &[8], 0, huge - 31).done(),
            "tensor t offset",
        ),
        (
            "offset and size wrap",
            plain()
                .tensor("t", &[1 << 40], 0, huge - (1 << 41) + 1)
                .done(),
            "tensor t offset",
        ),
        (
            "offset between",
            plain().tensor("t", &[8], 0, 4).done(),
            "tensor t offset",
        ),
        (
            "tensors overlap",
            plain()
                .tensor("t", &[16], 0, 0)
                .tensor("u", &[8], 0, 32)
                .done(),
            "tensor u offset",
        ),
        (
            "tensors out of order",
            plain()
                .tensor("t", &[8], 0, 32)
                .tensor("u", &[8], 0, 0)
                .done(),
            "tensor u offset",
        ),
        (
            "same tensor twice",
            plain()
                .tensor("t", &[8], 0, 0)
                .tensor("t", &[8], 0, 32)
                .done(),
            "tensor t",
        ),
        (
            "long tensor name",
            plain().tensor(&"n".repeat(128), &[8], 0, 0).done(),
            "tensor 0 name length",
        ),
        (
            "alignment 2^31",
            plain().word("general.alignment", 0x8000_0000).done(),
            "general.alignment",
        ),
        (
            "alignment 0",
            plain().word("general.alignment", 0).done(),
            "general.alignment",
        ),
        (
            "alignment 3",
            plain().word("general.alignment", 3).done(),
            "general.alignment",
        ),
        (
            "alignment as text",
            plain().text("general.alignment", "32").done(),
            "general.alignment",
        ),
        (
            "scores of int8",
            tokens(plain())
                .raw_array("tokenizer.ggml.scores", 1, 3, &[0; 3])
                .done(),
            "tokenizer.ggml.scores element type",
        ),
        (
            "types of int8",
            tokens(plain())
                .raw_array("tokenizer.ggml.token_type", 1, 3, &[0; 3])
                .done(),
            "tokenizer.ggml.token_type element type",
        ),
        (
            "merges of f32",
            tokens(plain())
                .raw_array("tokenizer.ggml.merges", 6, 1, &[0; 4])
                .done(),
            "tokenizer.ggml.merges element type",
        ),
        (
            "tokens of u32",
            plain()
                .raw_array("tokenizer.ggml.tokens", 4, 1, &[0; 4])
                .done(),
            "tokenizer.ggml.tokens",
        ),
        (
            "too few scores",
            tokens(plain())
                .raw_array("tokenizer.ggml.scores", 6, 2, &[0; 8])
                .done(),
            "tokenizer.ggml.scores length",
        ),
        (
            "score NaN",
            tokens(plain())
                .raw_array("tokenizer.ggml.scores", 6, 3, &[255; 12])
                .done(),
            "tokenizer.ggml.scores[0]",
        ),
        (
            "no tokens",
            plain().strings("tokenizer.ggml.tokens", &[]).done(),
            "tokenizer.ggml.tokens length",
        ),
        (
            "bos outside",
            tokens(plain())
                .word("tokenizer.ggml.bos_token_id", 3)
                .done(),
            "tokenizer.ggml.bos_token_id",
        ),
        (
            "eos as float",
            tokens(plain())
                .float("tokenizer.ggml.eos_token_id", 1.0)
                .done(),
            "tokenizer.ggml.eos_token_id",
        ),
        (
            "array of 2^40",
            plain().raw_array("x", 0, 1 << 40, &[]).done(),
            "x length",
        ),
        (
            "array of 2^63",
            plain().raw_array("x", 8, 1 << 63, &[]).done(),
            "x length",
        ),
        (
            "array beyond the end",
            plain().raw_array("x", 10, 1 << 20, &[]).done(),
            "x length",
        ),
        (
            "nested array",
            plain().raw_array("x", 9, 1, &[0; 12]).done(),
            "x element type",
        ),
        (
            "array of type 13",
            plain().raw_array("x", 13, 1, &[0; 12]).done(),
            "x element type",
        ),
        (
            "value of type 13",
            plain().value("x", 13, &[0; 8]).done(),
            "x type",
        ),
        ("bool of 2", plain().value("x", 7, &[2]).done(), "x"),
        (
            "bools of 2",
            plain().raw_array("x", 7, 3, &[0, 1, 2]).done(),
            "x[2]",
        ),
        (
            "string of 2^63",
            plain().value("x", 8, &(1_u64 << 63).to_le_bytes()).done(),
            "x length",
        ),
        (
            "string beyond the end",
            plain().value("x", 8, &100_000_u64.to_le_bytes()).done(),
            "x",
        ),
        (
            "token of 2^31",
            plain()
                .raw_array("tokenizer.ggml.tokens", 8, 1, &(1_u64 << 31).to_le_bytes())
                .done(),
            "tokenizer.ggml.tokens[0] length",
        ),
        (
            "token of 9000",
            plain()
                .strings("tokenizer.ggml.tokens", &[&"x".repeat(9000)])
                .done(),
            "tokenizer.ggml.tokens[0] length",
        ),
        (
            "text not UTF-8",
            plain()
                .value("x", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff])
                .done(),
            "x",
        ),
        (
            "token not UTF-8",
            plain()
                .raw_array("x", 8, 1, &[1, 0, 0, 0, 0, 0, 0, 0, 0xc0])
                .done(),
            "x[0]",
        ),
        ("key twice", plain().word("x", 1).word("x", 1).done(), "x"),
        (
            "architecture twice",
            plain().text("general.architecture", "llama").done(),
            "general.architecture",
        ),
        (
            "key of 1025",
            plain().word(&"k".repeat(1025), 1).done(),
            "metadata 1 key length",
        ),
        (
            "architecture is a path",
            File::new().text("general.architecture", "../../etc").done(),
            "general.architecture",
        ),
        (
            "architecture is a number",
            File::new().word("general.architecture", 1).done(),
            "general.architecture",
        ),
        (
            "no layers",
            plain().word("llama.block_count", 0).done(),
            "llama.block_count",
        ),
        (
            "2^32 layers",
            plain().word("llama.block_count", u32::MAX).done(),
            "llama.block_count",
        ),
        (
            "layers as text",
            plain().text("llama.block_count", "30").done(),
            "llama.block_count",
        ),
        (
            "no heads",
            plain().word("llama.attention.head_count", 0).done(),
            "llama.attention.head_count",
        ),
        (
            "heads that do not divide",
            plain()
                .word("llama.attention.head_count", 9)
                .word("llama.attention.head_count_kv", 2)
                .done(),
            "llama.attention.head_count_kv",
        ),
        (
            "heads per layer as text",
            plain().strings("llama.attention.head_count", &["9"]).done(),
            "llama.attention.head_count",
        ),
        (
            "no context",
            plain().word("llama.context_length", 0).done(),
            "llama.context_length",
        ),
        (
            "no width",
            plain().word("llama.embedding_length", 0).done(),
            "llama.embedding_length",
        ),
        (
            "epsilon NaN",
            plain()
                .float("llama.attention.layer_norm_rms_epsilon", f32::NAN)
                .done(),
            "llama.attention.layer_norm_rms_epsilon",
        ),
        (
            "epsilon 0",
            plain()
                .float("llama.attention.layer_norm_rms_epsilon", 0.0)
                .done(),
            "llama.attention.layer_norm_rms_epsilon",
        ),
        (
            "rope base negative",
            plain().float("llama.rope.freq_base", -1.0).done(),
            "llama.rope.freq_base",
        ),
        (
            "template of 1 MB",
            plain()
                .text("tokenizer.chat_template", &"x".repeat(1 << 20))
                .done(),
            "tokenizer.chat_template length",
        ),
        (
            "template is a number",
            plain().word("tokenizer.chat_template", 1).done(),
            "tokenizer.chat_template",
        ),
        (
            "add_bos as number",
            plain().word("tokenizer.ggml.add_bos_token", 1).done(),
            "tokenizer.ggml.add_bos_token",
        ),
    ];
    for (name, file, field) in cases {
        let (result, spent) = measure(|| Gguf::parse(&file).map(drop));
        let error = result.expect_err(name);
        assert_eq!(error.field(), field, "{name}: {error}");
        assert!(spent.bytes_peak < 1 << 20, "{name}: {spent:?}");
        assert!(
            spent.microseconds < MILLISECONDS_MAX * 1000,
            "{name}: {spent:?}"
        );
    }
}

#[test]
fn the_largest_headers_allowed_stay_within_bounds() {
    let tokens = vec![""; (20 << 17) - 1000];
    let many: Vec<String> = (0..60_000).map(|index| format!("{index:0>100}")).collect();
    let mut tensors = File::new();
    for (index, name) in many.iter().enumerate() {
        tensors = tensors.tensor(name, &[8], 0, index as u64 * 32);
    }
    let mut keys = File::new();
    for index in 0..4096 {
        keys = keys.word(&format!("{index:0>1000}"), 1);
    }
    let cases = [
        (
            "empty strings",
            File::new().strings("x", &tokens).done(),
            true,
        ),
        (
            "20 MiB of text",
            File::new()
                .strings("x", &["ä".repeat(30_000).as_str(); 349])
                .done(),
            true,
        ),
        ("60,000 tensors", tensors.done(), true),
        ("4,096 long keys", keys.done(), true),
        (
            "header above 20 MiB",
            File::new()
                .strings("x", &["x".repeat(60_000).as_str(); 400])
                .done(),
            false,
        ),
    ];
    for (name, file, good) in cases {
        let (result, spent) = measure(|| Gguf::parse(&file).map(drop));
        assert_eq!(result.is_ok(), good, "{name}: {result:?}");
        eprintln!("{name}: {} bytes, {spent:?}", file.len());
        assert!(spent.bytes_peak < BYTES_MAX, "{name}: {spent:?}");
        assert!(
            spent.microseconds < MILLISECONDS_MAX * 1000,
            "{name}: {spent:?}"
        );
    }
}

#[test]
fn eight_thousand_mutations_of_a_small_file_do_no_harm() {
    let good = hostile::small();
    let gguf = Gguf::parse(&good).unwrap();
    let tokenizer = Tokenizer::load(&gguf).unwrap();
    assert_eq!(tokenizer.encode("ab", Specials::Text, false).unwrap(), [3]);
    Template::load(&gguf, &tokenizer).unwrap();

    let mut dice = Dice(7);
    let (mut refused, mut worst) = (0, 0);
    for _ in 0..8000 {
        let file = dice.mutate(&good, 0..good.len());
        let (result, spent) = measure(|| Gguf::parse(&file));
        assert!(spent.bytes_peak < BYTES_MAX, "{spent:?}");
        worst = worst.max(spent.microseconds);
        match result {
            Err(error) => {
                assert!(
                    !error.field().is_empty() && error.to_string().len() < 600,
                    "{error}"
                );
                refused += 1;
            }
            // What passes the linter must do no harm to those who rely on it.
            Ok(gguf) => {
                if let Ok(tokenizer) = Tokenizer::load(&gguf) {
                    let _ = tokenizer.encode("ab <|x|> ä\n", Specials::Parse, true);
                    let _ = Template::load(&gguf, &tokenizer);
                }
            }
        }
    }
    eprintln!("{refused} of 8000 refused, worst {worst} us");
    assert!(refused > 2000, "{refused}");
    assert!(worst < MILLISECONDS_MAX * 1000);
}

#[test]
fn two_thousand_mutations_of_the_real_header_do_no_harm() {
    let mut file = support::model();
    let header = Gguf::parse(&file).unwrap().data_offset();
    let tensors = header - 20_000;
    let mut dice = Dice(11);
    let (mut refused, mut times) = (0, Vec::new());
    for round in 0..2000 {
        // Most bytes of the header are tokens' text: take more of the ends, where the structure is.
        let range = [0..2000, tensors..header, 0..header][round % 3].clone();
        let undo = dice.overwrite(&mut file, range);
        let length = if round % 10 == 0 {
            dice.below(header + 1000)
        } else {
            file.len()
        };
        let (result, spent) = measure(|| Gguf::parse(&file[..length]).map(drop));
        assert!(spent.bytes_peak < BYTES_MAX, "{spent:?}");
        times.push(spent.microseconds);
        if let Err(error) = result {
            assert!(!error.field().is_empty(), "{error}");
            refused += 1;
        } else if round % 100 == 1
            && let Ok(gguf) = Gguf::parse(&file)
            && let Ok(tokenizer) = Tokenizer::load(&gguf)
        {
            let _ = tokenizer.encode("Hello <|im_end|> 12", Specials::Parse, true);
            let _ = Template::load(&gguf, &tokenizer);
        }
        undo(&mut file);
    }
    times.sort_unstable();
    eprintln!(
        "{refused} of 2000 refused, median {} us, worst {} us",
        times[1000], times[1999]
    );
    assert!(refused > 500, "{refused}");
    assert!(times[1000] < 50_000 && times[1999] < MILLISECONDS_MAX * 1000);
}
