//! Model files made to hurt: each is refused with an error that names the field, quickly, and without
//! taking memory for it. The cases are those of published holes in other readers.

#[path = "support/defects.rs"]
mod defects;
#[path = "support/gguf_file.rs"]
mod gguf_file;
#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/text.rs"]
mod support;

use gguf_file::File;
use hostile::{Dice, measure};
use troop_kernels::gguf::Gguf;
use troop_kernels::template::Template;
use troop_kernels::tokenizer::{Specials, Tokenizer};

/// What was spent on one file may be this much; the limits of the product are lower, but a machine that
/// runs tests is shared.
const MILLISECONDS_MAX: u128 = 500;
const BYTES_MAX: usize = 64 << 20;

#[test]
fn every_known_defect_is_refused_by_the_name_of_its_field() {
    let cases = defects::defects();
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
