//! The bits of every operation, as `vectors/` pins them: every path of this machine returns them all.
//!
//! The reference makes the files, once and on purpose; see vectors/README.md. Here the inputs are read from
//! the files, and compared with those that the cases would be made of today; the outputs of each
//! instruction set are compared with the files' outputs. So no bit of a file can change, and no result, without a
//! test that fails.

#[path = "support/vectors/attend.rs"]
mod attend;
#[path = "support/vectors/draws.rs"]
mod draws;
#[path = "support/vectors/file.rs"]
mod file;
#[path = "support/gguf_file.rs"]
mod gguf_file;
#[path = "support/vectors/int8.rs"]
mod int8;
#[path = "support/vectors/matrices.rs"]
mod matrices;
#[path = "support/vectors/small.rs"]
mod small;
#[path = "support/synthetic.rs"]
mod synthetic;
#[path = "support/vectors/values.rs"]
mod values;
#[path = "support/vectors/whole.rs"]
mod whole;

use std::io::Write;
use std::path::PathBuf;

use file::{Array, Case};
use sha2::{Digest, Sha256};
use troop_kernels::isa::Isa;

/// An operation: the name of its file, its cases without outputs, and how an instruction set computes one.
struct Operation {
    name: &'static str,
    cases: fn() -> Vec<Case>,
    run: fn(Isa, &Case) -> Vec<Array>,
}

macro_rules! operations {
    ($($name:literal: $cases:path, $run:path;)*) => {
        [$(Operation { name: $name, cases: $cases, run: $run }),*]
    };
}

const OPERATIONS: [Operation; 13] = operations! {
    "quantize": small::quantize_cases, small::quantize;
    "matmul": matrices::matmul_cases, matrices::matmul;
    "gate": matrices::gate_cases, matrices::gate;
    "embed": matrices::embed_cases, matrices::embed;
    "dot": small::dot_cases, small::dot;
    "norm": small::norm_cases, small::norm;
    "rope": small::rope_cases, small::rope;
    "math": small::math_cases, small::math;
    "store": attend::store_cases, attend::store;
    "attention": attend::attend_cases, attend::attend;
    "random": draws::random_cases, draws::random;
    "weight": draws::weight_cases, draws::weight;
    "draw": draws::draw_cases, draws::draw;
};

/// What is computed from all of them together.
const WHOLE: Operation = Operation {
    name: "model",
    cases: whole::cases,
    run: whole::run,
};

/// The class with pages of int8: what differs from version 1.
const INT8: [Operation; 3] = operations! {
    "int8-store": int8::store_cases, int8::store;
    "int8-attention": int8::attend_cases, int8::attend;
    "int8-model": int8::whole_cases, int8::whole;
};

fn version_1() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().chain([&WHOLE])
}

fn all() -> impl Iterator<Item = &'static Operation> {
    version_1().chain(&INT8)
}

fn path(operation: &Operation) -> PathBuf {
    let name = format!("tests/vectors/{}.txt", operation.name);
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Past the capture of the test's output, because what was not tested must not look tested.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether a file's text has today's inputs, and the outputs that these instruction sets compute.
fn verify(operation: &Operation, text: &str, isas: &[Isa]) -> Result<usize, String> {
    let stored = file::read(text)?;
    let made = (operation.cases)();
    if stored.len() != made.len() {
        return Err(format!(
            "{} cases, there must be {}",
            stored.len(),
            made.len()
        ));
    }
    let mut checked = 0;
    for (stored, made) in stored.iter().zip(&made) {
        if stored.name != made.name {
            return Err(format!("{}: must be {}", stored.name, made.name));
        }
        compare(&stored.inputs, &made.inputs).map_err(|why| format!("{}: {why}", made.name))?;
        for isa in isas {
            let found = (operation.run)(*isa, stored);
            let wrong = |why| format!("{} by {}: {why}", made.name, isa.name());
            compare(&stored.outputs, &found).map_err(wrong)?;
            checked += found.iter().map(|array| array.bits.len()).sum::<usize>();
        }
    }
    match file::write(&stored) == text {
        true => Ok(checked),
        false => Err("the text is not as it would be written".to_owned()),
    }
}

fn compare(stored: &[Array], found: &[Array]) -> Result<(), String> {
    let names = |arrays: &[Array]| -> Vec<(String, &str, usize)> {
        let one = |array: &Array| (array.name.clone(), array.kind, array.bits.len());
        arrays.iter().map(one).collect()
    };
    if names(stored) != names(found) {
        return Err(format!(
            "arrays {:?}, found {:?}",
            names(stored),
            names(found)
        ));
    }
    for (stored, found) in stored.iter().zip(found) {
        let mut pairs = stored.bits.iter().zip(&found.bits).enumerate();
        if let Some((at, (stored, found_bits))) = pairs.find(|(_, (a, b))| a != b) {
            let name = &found.name;
            return Err(format!(
                "{name}[{at}] is {found_bits:#x}, the vector says {stored:#x}"
            ));
        }
    }
    Ok(())
}

#[test]
fn every_path_returns_the_pinned_bits() {
    for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_available()) {
        say(&format!(
            "vectors: SKIPPED {}, which this machine does not have",
            isa.name()
        ));
    }
    let isas = Isa::available();
    let mut checked = 0;
    for operation in all() {
        let text = std::fs::read_to_string(path(operation)).expect("the vectors are there");
        match verify(operation, &text, &isas) {
            Ok(count) => checked += count,
            Err(why) => panic!("{}.txt: {why}", operation.name),
        }
    }
    let names: Vec<&str> = isas.iter().map(|isa| isa.name()).collect();
    say(&format!(
        "vectors: {checked} numbers, by {}",
        names.join(", ")
    ));
}

#[test]
fn a_changed_bit_anywhere_is_noticed() {
    // Models take long, and their files have the same form.
    for operation in OPERATIONS.iter().chain(&INT8[..2]) {
        let text = std::fs::read_to_string(path(operation)).expect("the vectors are there");
        let lines: Vec<&str> = text.lines().collect();
        let numbers: Vec<usize> = (0..lines.len())
            .filter(|at| lines[*at].starts_with("  "))
            .collect();
        // Some lines of each file: the first of them is an input, the last an output.
        let chosen = (0..8).map(|step| numbers[step * (numbers.len() - 1) / 7]);
        for line in chosen {
            let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            let last = changed[line]
                .pop()
                .and_then(|digit| digit.to_digit(16))
                .expect("a digit");
            changed[line].push(char::from_digit(last ^ 1, 16).expect("a digit"));
            let changed = changed.join("\n") + "\n";
            let result = verify(operation, &changed, &[Isa::Reference]);
            assert!(result.is_err(), "{}.txt, line {}", operation.name, line + 1);
        }
    }
}

/// Version 1 is frozen (runtime/docs/decisions/0016): vectors that were written anew are another version, which has
/// another class, and answers of which no worker of this one continues. A case that is added changes this too, and
/// says so in its commit.
#[test]
fn the_vectors_are_those_of_version_1() {
    let found = digest(version_1());
    assert_eq!(found, VERSION_1, "the vectors, one file after the other");
}

/// And so is the class beside it: with other bits it is another class again.
#[test]
fn the_vectors_of_int8_are_those_of_its_class() {
    let found = digest(INT8.iter());
    assert_eq!(found, VERSION_1_INT8, "int8's, one file after the other");
}

/// The digest of some operations' files.
fn digest(operations: impl Iterator<Item = &'static Operation>) -> String {
    let mut hasher = Sha256::new();
    for operation in operations {
        hasher.update(std::fs::read(path(operation)).expect("the vectors are there"));
    }
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

const VERSION_1: &str = "9ec03c4e507e2d0fad510adddfe697f40497b314ff2f082ec2789aa5db35aace";
const VERSION_1_INT8: &str = "14908bce549b196e95c677f37d68db91a582ede9aba6ee7e148bfdc6386b7e2a";

#[test]
fn the_folder_is_small_and_holds_nothing_else() {
    let folder = path(&WHOLE).parent().expect("a folder").to_owned();
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let entry = entry.expect("it can be read");
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let known = all().any(|operation| name == format!("{}.txt", operation.name));
        assert!(known || name == "README.md", "{name}");
        bytes += entry.metadata().expect("it can be read").len();
    }
    assert!(bytes < 1_000_000, "{bytes} bytes");
}

/// Rewrites the files from the reference. A deliberate act: it changes what the arithmetic is.
#[test]
#[ignore = "it rewrites the vectors; see vectors/README.md"]
fn write_the_vectors() {
    let meant = std::env::var("TROOP_WRITE_VECTORS").is_ok_and(|value| value == "yes");
    assert!(
        meant,
        "set TROOP_WRITE_VECTORS=yes if the arithmetic is to change"
    );
    for operation in all() {
        let mut cases = (operation.cases)();
        for case in &mut cases {
            case.outputs = (operation.run)(Isa::Reference, case);
        }
        std::fs::write(path(operation), file::write(&cases)).expect("the file can be written");
    }
}
