//! Model files made to hurt: each is refused with an error that names the field, quickly, and without
//! taking memory for it. The cases are those of published holes in other readers, and 10,000 mutations.
//!
//! Memory is counted for every case and held to its limit. Time is measured and reported; it is held to its
//! limit where `TROOP_LONG=1` says that the machine is quiet.

#[path = "support/defects.rs"]
mod defects;
#[path = "support/gguf_file.rs"]
mod gguf_file;
#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/measure.rs"]
mod measure;
#[path = "support/text.rs"]
mod support;
#[path = "support/synthetic.rs"]
mod synthetic;
#[path = "support/vectors/values.rs"]
mod values;

use gguf_file::File;
use hostile::{Dice, consider};
use measure::{Spent, measure};
use troop_kernels::gguf::Gguf;

/// What linting a header may take, whatever it says.
const MICROSECONDS_MAX: u128 = 50_000;
/// What linting, or using what passed, may hold at a time.
const BYTES_MAX: usize = 64 << 20;

fn hold(name: &str, spent: Spent) {
    assert!(spent.bytes_peak <= BYTES_MAX, "{name}: {spent:?}");
    if std::env::var("TROOP_LONG").is_ok_and(|long| long == "1") {
        assert!(spent.microseconds <= MICROSECONDS_MAX, "{name}: {spent:?}");
    }
}

#[test]
fn every_known_defect_is_refused_by_the_name_of_its_field() {
    let _alone = measure::alone();
    let mut worst = Spent::default();
    let defects = defects::defects();
    assert!(defects.len() >= 100, "{}", defects.len());
    for (name, file, field) in defects {
        let (result, spent) = measure(|| Gguf::parse(&file).map(drop));
        let error = result.expect_err(name);
        assert_eq!(error.field(), field, "{name}: {error}");
        // Nothing is allocated for a count that is not believed.
        assert!(spent.bytes_peak < 1 << 20, "{name}: {spent:?}");
        hold(name, spent);
        worst = worst.worse(spent);
    }
    eprintln!("defects: at worst {worst:?}");
}

#[test]
fn a_whole_model_cut_off_anywhere_is_refused() {
    let _alone = measure::alone();
    let good = hostile::whole();
    let considered = consider(&good);
    assert_eq!(considered.refused, None);
    let mut worst = Spent::default();
    for length in 0..good.len() {
        let cut = consider(&good[..length]);
        let (field, error) = cut.refused.expect("it is not whole");
        assert!(!field.is_empty(), "{length}: {error}");
        hold("cut off", cut.header);
        worst = worst.worse(cut.header);
    }
    eprintln!("{} cuts: at worst {worst:?}", good.len());
}

#[test]
fn the_largest_headers_allowed_stay_within_bounds() {
    let _alone = measure::alone();
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
        hold(name, spent);
    }
}

#[test]
fn eight_thousand_mutations_of_a_small_model_do_no_harm() {
    let _alone = measure::alone();
    let good = hostile::whole();
    let header = Gguf::parse(&good).unwrap().data_offset();
    let mut dice = Dice(7);
    let (mut unread, mut unused) = (0, 0);
    let (mut worst_header, mut worst_rest) = (Spent::default(), Spent::default());
    for round in 0..8000 {
        // One in eight in the weights, the others in what describes them.
        let end = if round % 8 == 0 { good.len() } else { header };
        let file = dice.mutate(&good, 0..end);
        let is_read = Gguf::parse(&file).is_ok();
        let considered = consider(&file);
        if let Some((field, error)) = considered.refused {
            assert!(
                error.len() < 600 && (is_read || !field.is_empty()),
                "{error}"
            );
            unread += usize::from(!is_read);
            unused += usize::from(is_read);
        }
        hold("header", considered.header);
        assert!(
            considered.rest.bytes_peak <= BYTES_MAX,
            "{:?}",
            considered.rest
        );
        worst_header = worst_header.worse(considered.header);
        worst_rest = worst_rest.worse(considered.rest);
    }
    eprintln!(
        "of 8000 mutations {unread} were not read and {unused} not used; headers at worst \
         {worst_header:?}, the rest {worst_rest:?}"
    );
    assert!(unread > 2000 && unused > 300, "{unread} {unused}");
}

#[test]
fn two_thousand_mutations_of_the_real_header_do_no_harm() {
    let _alone = measure::alone();
    let mut file = support::model();
    let header = Gguf::parse(&file).unwrap().data_offset();
    let tensors = header - 20_000;
    let mut dice = Dice(11);
    let (mut refused, mut times) = (0, Vec::new());
    let mut worst = Spent::default();
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
        hold("real header", spent);
        worst = worst.worse(spent);
        times.push(spent.microseconds);
        if let Err(error) = result {
            assert!(!error.field().is_empty(), "{error}");
            refused += 1;
        } else if round % 200 == 1 {
            let rest = consider(&file[..length]).rest;
            assert!(rest.bytes_peak <= BYTES_MAX, "{rest:?}");
        }
        undo(&mut file);
    }
    times.sort_unstable();
    eprintln!(
        "{refused} of 2000 refused, median {} us, at worst {worst:?}",
        times[1000]
    );
    assert!(refused > 500, "{refused}");
}
