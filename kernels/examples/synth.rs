//! Writes small models with random weights, for whoever wants to read one: every architecture in every format.
//!
//! ```text
//! cargo run -p troop-kernels --example synth -- --list
//! cargo run -p troop-kernels --example synth -- KIND FORMAT FILE.gguf [SEED]
//! cargo run -p troop-kernels --example synth -- --all DIRECTORY [SEED]
//! ```
//!
//! The models have a vocabulary of 40 with a tokenizer, so that other programs load them. Beside each file of
//! `--all` lies a `.json`: some tokens, and after each of them the log-probability of every token, by the
//! yardstick and by the canonical arithmetic.

#[path = "../tests/support/gguf_file.rs"]
mod gguf_file;
#[path = "../tests/support/synthetic.rs"]
mod synthetic;
#[path = "../tests/support/vectors/values.rs"]
mod values;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use gguf_file::File;
use synthetic::kinds::{KINDS, Kind};
use troop_kernels::gguf::Gguf;
use troop_kernels::isa::Isa;
use troop_kernels::model::{Evaluator, Model, PageId, Pages, Run, Want};
use troop_kernels::yardstick::{Yardstick, log_probabilities};
use values::FORMATS;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let seed = |text: Option<&&str>| text.map_or(Ok(1), |text| text.parse());
    match arguments.as_slice() {
        ["--list"] => {
            let kinds = KINDS.map(|kind| kind.name).join(" ");
            let formats = FORMATS.map(|format| format.name()).join(" ");
            println!("kinds:   {kinds}\nformats: {formats}");
        }
        ["--all", directory, rest @ ..] if rest.len() < 2 => {
            let seed = seed(rest.first())?;
            std::fs::create_dir_all(directory)?;
            for kind in KINDS {
                for format in FORMATS {
                    let name = format!("{}.{}", kind.name, format.name());
                    let path = Path::new(directory).join(name);
                    let file = kind.model(format, seed).write(words());
                    std::fs::write(path.with_added_extension("json"), odds(&file)?)?;
                    std::fs::write(path.with_added_extension("gguf"), file)?;
                }
            }
        }
        [kind, format, path, rest @ ..] if rest.len() < 2 && !kind.starts_with('-') => {
            let kind = KINDS.into_iter().find(|one| one.name == *kind);
            let format = FORMATS.into_iter().find(|one| one.name() == *format);
            let kind: Kind = kind.ok_or("no such kind; --list names them")?;
            let format = format.ok_or("no such format; --list names them")?;
            let file = kind.model(format, seed(rest.first())?).write(words());
            std::fs::write(path, file)?;
        }
        _ => return Err("--list, or --all DIRECTORY [SEED], or KIND FORMAT FILE [SEED]".into()),
    }
    Ok(())
}

/// A vocabulary: letters, one merge of two, and one token that ends an answer.
fn words() -> File {
    let mut tokens: Vec<String> = ('a'..='z').chain('A'..='L').map(String::from).collect();
    tokens.extend(["ab".to_owned(), "<|end|>".to_owned()]);
    let names: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let kind = |index: usize| if index + 1 == names.len() { 3i32 } else { 1 };
    let kinds: Vec<u8> = (0..names.len())
        .flat_map(|at| kind(at).to_le_bytes())
        .collect();
    let end = names.len() as u32 - 1;
    File::new()
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "smollm")
        .strings("tokenizer.ggml.tokens", &names)
        .strings("tokenizer.ggml.merges", &["a b"])
        .raw_array("tokenizer.ggml.token_type", 5, names.len() as u64, &kinds)
        .word("tokenizer.ggml.bos_token_id", end)
        .word("tokenizer.ggml.eos_token_id", end)
}

/// Some tokens, more than the windows of these models see, and what is thought after each.
fn odds(file: &[u8]) -> Result<String, Box<dyn Error>> {
    let tokens = [3u32, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8, 38];
    let gguf = Gguf::parse(file)?;
    let yardstick = Yardstick::new(&gguf, file, 1)?;
    let exact = yardstick.logits(&tokens, 0..tokens.len());
    let model = Arc::new(Model::load(&gguf, file, Isa::detect())?);
    let (page, vocabulary) = ([PageId(0)], model.facts().vocabulary);
    let mut pages = Pages::new(model.facts(), 1, 1)?;
    let run = Run {
        tokens: &tokens,
        start: 0,
        pages: &page,
        window_pages: match model.facts().window {
            0 => &[],
            _ => &page,
        },
        want: Want::EveryLogits,
    };
    let found = Evaluator::new(model, 1, tokens.len())?
        .step(&mut pages, &[run])
        .swap_remove(0)?;
    let found: Vec<f64> = found.into_iter().map(f64::from).collect();
    let exact: Vec<Vec<f64>> = exact.iter().map(|row| log_probabilities(row)).collect();
    let rows = found.chunks_exact(vocabulary);
    let found: Vec<Vec<f64>> = rows.map(log_probabilities).collect();
    Ok(format!(
        "{{\"tokens\":{tokens:?},\"yardstick\":{exact:?},\"canonical\":{found:?}}}\n"
    ))
}
