//! A leaf: one child process, its two pipes, and the tasks that carry frames through them.

use super::EngineProcessMessage;
use super::protocol::Input;
use crate::engine::frames::{FromEngine, ToEngine};
use crate::engine::pipe::{self, Kind};
use crate::ids::Passport;
use ractor::ActorRef;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

/// How engines are started: the leaf that knows programs and files.
pub trait Engines: Send + Sync + 'static {
    /// Starts the process that serves `model`, with pipes for its three streams, to be killed when it is
    /// dropped; an error if the model is not on this machine.
    fn spawn(&self, model: Passport) -> io::Result<tokio::process::Child>;
}

/// A child in its one life. Dropping it ends it.
pub(super) struct Child {
    life: u64,
    pid: Option<u32>,
    frames: Sender<Vec<u8>>,
    tasks: [JoinHandle<()>; 2],
}

impl Child {
    /// Starts the child and its tasks; its end is told to `keeper`.
    pub(super) fn start(
        engines: &dyn Engines,
        model: Passport,
        life: u64,
        keeper: &ActorRef<EngineProcessMessage>,
    ) -> io::Result<Child> {
        let mut child = engines.spawn(model)?;
        let missing = || io::Error::other("a pipe is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let (frames, queue) = channel(FRAMES_QUEUED_MAX);
        let pid = child.id();
        let ear = keeper.clone();
        let listening = async move {
            let life_of_it = async {
                let heard = listen(stdout, model, life, &ear).await;
                let _ = child.start_kill();
                let status = child.wait().await;
                match (heard, status) {
                    (Err(error), _) => error.to_string(),
                    (Ok(()), Ok(status)) => status.to_string(),
                    (Ok(()), Err(error)) => error.to_string(),
                }
            };
            let (mut reason, last_words) = tokio::join!(life_of_it, complain(stderr, model));
            if !last_words.is_empty() {
                reason = format!("{reason}; its last words: {last_words}");
            }
            let exited = Input::Exited {
                model,
                life,
                reason,
            };
            let _ = ear.cast(EngineProcessMessage::Input(exited));
        };
        // The tasks belong to this child, which ends them when it is dropped; `listening` holds the
        // process itself, which ends with it.
        #[allow(clippy::disallowed_methods)]
        let tasks = [tokio::spawn(listening), tokio::spawn(speak(stdin, queue))];
        Ok(Child {
            life,
            pid,
            frames,
            tasks,
        })
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Queues a frame; false if the child has stopped reading.
    pub(super) fn write(&self, frame: &ToEngine) -> bool {
        self.frames
            .try_send(pipe::encode(Kind::ToEngine, frame))
            .is_ok()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn listen(
    stdout: ChildStdout,
    model: Passport,
    life: u64,
    keeper: &ActorRef<EngineProcessMessage>,
) -> io::Result<()> {
    let mut from = BufReader::new(stdout);
    let room = Arc::new(Semaphore::new(FRAMES_UNHEARD_MAX));
    loop {
        let mut header = [0; pipe::HEADER_BYTES];
        match from.read_exact(&mut header).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            result => result?,
        };
        let mut bytes = vec![0; pipe::length(header)?];
        from.read_exact(&mut bytes).await?;
        let Some(frame) = pipe::decode::<FromEngine>(Kind::FromEngine, &bytes)? else {
            continue;
        };
        let permit = room
            .clone()
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let heard = EngineProcessMessage::Heard(model, life, frame, permit);
        if keeper.cast(heard).is_err() {
            return Ok(());
        }
    }
}

async fn speak(mut stdin: ChildStdin, mut queue: Receiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        // A child that is gone is noticed by whoever listens to it.
        if stdin.write_all(&bytes).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

/// Passes on what a child complains of, until it is gone; returns the beginning of its last line. What is too
/// much is read and forgotten: a child that could not complain would die of it.
async fn complain(mut stderr: ChildStderr, model: Passport) -> String {
    let mut lines = BufReader::new((&mut stderr).take(STDERR_BYTES_MAX)).lines();
    let mut last = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::warn!(?model, line, "an engine says");
        // The notes under a panic are for whoever can start it again by hand.
        if !line.trim().is_empty() && !line.starts_with("note: ") {
            last = line.chars().take(LAST_WORDS_MAX).collect();
        }
    }
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    last
}

/// Frames on their way to a child, at most.
const FRAMES_QUEUED_MAX: usize = 2048;
/// Frames from a child that have not been heard, at most.
const FRAMES_UNHEARD_MAX: usize = 1024;
/// Characters of a child's last words that are kept as the reason of its end.
const LAST_WORDS_MAX: usize = 200;
/// Bytes of a child's complaints that are passed on in its life.
const STDERR_BYTES_MAX: u64 = 1 << 20;
