//! One file for each way in which a model file has been known to break its reader.

#[path = "defects/header.rs"]
mod header;
#[path = "defects/sizes.rs"]
mod sizes;
#[path = "defects/tensors.rs"]
mod tensors;
#[path = "defects/words.rs"]
mod words;

use crate::gguf_file::File;

/// What is wrong, the file, and the field that must be named.
pub(crate) type Defect = (&'static str, Vec<u8>, &'static str);

pub(crate) fn defects() -> Vec<Defect> {
    [
        header::defects(),
        tensors::defects(),
        words::defects(),
        sizes::defects(),
    ]
    .concat()
}

/// A file with nothing but an architecture.
fn plain() -> File {
    File::new().text("general.architecture", "llama")
}

/// A file without its last bytes.
fn cut(mut file: Vec<u8>, bytes: usize) -> Vec<u8> {
    file.truncate(file.len() - bytes);
    file
}
