//! All rules together: the logits of small models, in every format, after a prompt and a few more tokens.

#![allow(dead_code, unreachable_pub, reason = "a module of test binaries")]

use std::sync::Arc;

use sha2::{Digest, Sha256};
use troop_kernels::gguf::{Format, Gguf};
use troop_kernels::isa::Isa;
use troop_kernels::model::{Evaluator, Model, PageId, PageKind, Pages, Run, Want};

use super::file::{Array, Case};
use super::synthetic::kinds::{KINDS, Kind};
use super::synthetic::{Shape, Synthetic};
use super::values::FORMATS;

/// The weights would fill the folder, so a case has the digest of the model file; `synthetic.rs` makes it.
pub fn cases() -> Vec<Case> {
    let tokens: Vec<u32> = (0..70).map(|i| (i * i * 7 + 3) % 40).collect();
    let case = |format: Format| {
        let file = Synthetic::new(Shape::of(format), format, 1).file();
        let digest: [u8; 32] = Sha256::digest(&file).into();
        let case = Case::new(format!("{} model", format.name())).with("format", &[format.id()]);
        case.with("model_sha256", &digest)
            .with("tokens", &tokens)
            .with("prompt", &[67u32])
    };
    let kind = |kind: &Kind| {
        let file = kind.model(Format::Q8_0, 1).file();
        let digest: [u8; 32] = Sha256::digest(&file).into();
        let case = Case::new(format!("{} model", kind.name)).with("kind", kind.name.as_bytes());
        case.with("format", &[Format::Q8_0.id()])
            .with("model_sha256", &digest)
            .with("tokens", &tokens)
            .with("prompt", &[67u32])
    };
    let llama: Vec<Case> = FORMATS.map(case).into();
    llama.into_iter().chain(KINDS.iter().map(kind)).collect()
}

pub fn run(isa: Isa, case: &Case) -> Vec<Array> {
    over(isa, case, PageKind::F16)
}

/// The same over pages of a kind.
pub fn over(isa: Isa, case: &Case, kind: PageKind) -> Vec<Array> {
    let format = Format::from_id(case.one("format")).expect("a known format");
    let file = match case.inputs.iter().find(|array| array.name == "kind") {
        None => Synthetic::new(Shape::of(format), format, 1).file(),
        Some(_) => {
            let name = String::from_utf8(case.all("kind")).expect("a name");
            Kind::named(&name).model(format, 1).file()
        }
    };
    let digest: [u8; 32] = Sha256::digest(&file).into();
    assert_eq!(
        digest.as_slice(),
        case.all::<u8>("model_sha256"),
        "another model file"
    );
    let gguf = Gguf::parse(&file).expect("a good file");
    let model = Arc::new(Model::load(&gguf, &file, isa).expect("a good model"));
    let facts = model.facts().clone().with_pages(kind);
    let mut pages = Pages::new(&facts, 2, 2).expect("memory");
    let tail: &[PageId] = match model.facts().window {
        0 => &[],
        _ => &[PageId(1), PageId(0)],
    };
    let mut evaluator = Evaluator::new(model, 2, 70).expect("threads");
    let tokens: Vec<u32> = case.all("tokens");
    let prompt = case.count("prompt");
    let mut logits: Vec<f32> = Vec::new();
    for end in prompt..=tokens.len() {
        let start = if end == prompt { 0 } else { end - 1 };
        let run = Run {
            tokens: &tokens[start..end],
            start: start as u32,
            pages: &[PageId(1), PageId(0)],
            window_pages: tail,
            want: Want::Logits,
        };
        let result = evaluator.step(&mut pages, &[run]).swap_remove(0);
        logits.extend(result.expect("finite"));
    }
    vec![Array::of("logits", &logits)]
}
