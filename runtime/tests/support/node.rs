//! A real `troop` process in a folder of its own, and a client that speaks just enough HTTP.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[path = "../../../kernels/tests/support/test_model.rs"]
pub(crate) mod test_model;

/// A folder that goes when the test is over, and the words that every command in it begins with.
pub(crate) struct Folder(pub(crate) PathBuf, Vec<String>);

impl Folder {
    /// One that is there already.
    pub(crate) fn at(path: PathBuf) -> Folder {
        Folder(path, Vec::new())
    }

    /// A new one, with the model in its store.
    pub(crate) fn with_model() -> Folder {
        Folder::entered_by(Vec::new())
    }

    /// A new one, without a model.
    pub(crate) fn empty() -> Folder {
        Folder::empty_entered_by(Vec::new())
    }

    /// The same, of a machine that is entered by these words.
    pub(crate) fn empty_entered_by(words: Vec<String>) -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("troop-{}-{number}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.expect("a folder for the node alone");
        Folder(path, words)
    }

    /// A new one of a machine that is entered by these words.
    pub(crate) fn entered_by(words: Vec<String>) -> Folder {
        let folder = Folder::empty_entered_by(words);
        let from = format!("file:{}", test_model::test_model().display());
        let pulled = folder.troop(&["pull", "smollm2", "--from", &from]);
        assert!(
            pulled.status.success(),
            "{}",
            String::from_utf8_lossy(&pulled.stderr)
        );
        folder
    }

    /// Runs a verb and waits for it.
    pub(crate) fn troop(&self, args: &[&str]) -> Output {
        let mut command = self.command();
        command
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("troop runs")
    }

    /// Runs a verb with `--json`, which must succeed.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.troop(&[args, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {text}");
        // What takes long tells of its progress first, an object a line.
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }
}

impl Folder {
    pub(crate) fn command(&self) -> Command {
        let words = self.1.iter().map(String::as_str);
        let mut words = words.chain([env!("CARGO_BIN_EXE_troop")]);
        let mut command = Command::new(words.next().expect("one at least"));
        command.args(words).env("TROOP_HOME", &self.0);
        command
    }

    /// Asks the node over the owner's socket; returns the status.
    pub(crate) fn post(&self, path: &str, body: &str) -> std::io::Result<u16> {
        let request = Request::new("POST", path, body, None);
        Ok(request.over(self.socket()?)?.status)
    }

    /// Asks the node over the owner's socket; returns what it answers.
    pub(crate) fn get(&self, path: &str) -> std::io::Result<Value> {
        let request = Request::new("GET", path, "", None);
        Ok(request.over(self.socket()?)?.whole()?.json)
    }

    fn socket(&self) -> std::io::Result<UnixStream> {
        let socket = UnixStream::connect(self.0.join("ctl.sock"))?;
        socket.set_read_timeout(Some(READ_TIME_MAX))?;
        Ok(socket)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A node that runs.
pub(crate) struct Node {
    pub(crate) process: Child,
    pub(crate) address: String,
}

impl Node {
    /// Starts one in `folder` and waits until it serves the model.
    pub(crate) fn start(folder: &Folder) -> Node {
        Node::start_with(folder, &[])
    }

    /// Starts one with more in its environment.
    pub(crate) fn start_with(folder: &Folder, environment: &[(&str, &str)]) -> Node {
        let node = Node::start_as(folder, &["--role", "both"], environment);
        node.wait_ready();
        node
    }

    /// Starts one with these arguments, and waits until it says where it listens.
    pub(crate) fn start_as(folder: &Folder, args: &[&str], environment: &[(&str, &str)]) -> Node {
        let _ = fs::remove_file(folder.0.join("node.json"));
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(folder.0.join("log"))
            .expect("a log");
        let process = folder
            .command()
            .args(["node", "--listen", "127.0.0.1:0"])
            .args(args)
            .env("TROOP_GRACE", "10")
            .env("TROOP_QUIC", "127.0.0.1:0")
            // A machine on the mains until a test puts a battery in, whatever this one runs on.
            .env("TROOP_POWER_SUPPLY", folder.0.join("power"))
            .env("TROOP_IDLE_FOR", "2s")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("troop node starts");
        let mut node = Node {
            process,
            address: String::new(),
        };
        let note = folder.0.join("node.json");
        until("the node says where it listens", || {
            let ended = node.process.try_wait().expect("a process of ours");
            let log = || fs::read_to_string(folder.0.join("log")).unwrap_or_default();
            assert!(ended.is_none(), "the node ended, {ended:?}: {}", log());
            let facts = fs::read_to_string(&note).ok()?;
            let facts: Value = serde_json::from_str(&facts).ok()?;
            node.address = facts["listen"].as_str()?.to_owned();
            Some(())
        });
        node
    }

    /// Waits until the model is served.
    pub(crate) fn wait_ready(&self) {
        until("the node is ready", || {
            let response = self.try_get("/v1/models/smollm2")?;
            (response.status == 200).then_some(())
        });
    }

    pub(crate) fn try_get(&self, path: &str) -> Option<Response> {
        Request::new("GET", path, "", None)
            .send(&self.address)
            .ok()?
            .whole()
            .ok()
    }

    /// One chat without streaming; the error is that of a connection that broke.
    pub(crate) fn chat(&self, key: Option<&str>, options: Value) -> std::io::Result<Response> {
        chat(&self.address, key, options)
    }

    /// One chat as a stream.
    pub(crate) fn stream(&self, key: Option<&str>, mut options: Value) -> std::io::Result<Stream> {
        options["stream"] = true.into();
        Request::new("POST", CHAT, &chat_body(options), key).send(&self.address)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill")
            .args([signal, &pid])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    }

    /// `kill -9`, and waits until the process is gone.
    pub(crate) fn kill(mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One chat with whoever listens at `address`.
pub(crate) fn chat(address: &str, key: Option<&str>, options: Value) -> std::io::Result<Response> {
    Request::new("POST", CHAT, &chat_body(options), key)
        .send(address)?
        .whole()
}

/// How long an answer is waited for.
const READ_TIME_MAX: Duration = Duration::from_secs(180);
const CHAT: &str = "/v1/chat/completions";

fn chat_body(mut options: Value) -> String {
    if options.get("messages").is_none() {
        options["messages"] = json!([{ "role": "user", "content": "Count to twenty in words." }]);
    }
    options["model"] = "smollm2".into();
    options.to_string()
}

struct Request(String);

impl Request {
    fn new(method: &str, path: &str, body: &str, key: Option<&str>) -> Request {
        let key = key
            .map(|key| format!("authorization: Bearer {key}\r\n"))
            .unwrap_or_default();
        let length = body.len();
        Request(format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{key}\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    fn send(&self, address: &str) -> std::io::Result<Stream> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(READ_TIME_MAX))?;
        self.over(socket)
    }

    fn over(&self, mut socket: impl Read + Write + Send + 'static) -> std::io::Result<Stream> {
        socket.write_all(self.0.as_bytes())?;
        let mut from: BufReader<Box<dyn Read + Send>> = BufReader::new(Box::new(socket));
        let mut line = String::new();
        from.read_line(&mut line)?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other("no status line"))?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            from.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
                None => break,
            }
        }
        Ok(Stream {
            status,
            headers,
            from,
        })
    }
}

/// An answer as it comes. Dropping it hangs up.
pub(crate) struct Stream {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    from: BufReader<Box<dyn Read + Send>>,
}

impl Stream {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| &value[..])
    }

    /// The next event of a stream: an object, or nothing at its end. Comments and chunk sizes are skipped.
    pub(crate) fn event(&mut self) -> std::io::Result<Option<Value>> {
        loop {
            let mut line = String::new();
            if self.from.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            match line.trim_end().strip_prefix("data: ") {
                Some("[DONE]") => return Ok(None),
                Some(event) => return serde_json::from_str(event).map(Some).map_err(Into::into),
                None => {}
            }
        }
    }

    /// All that is left: the text of choice 0, and the error if there was one.
    pub(crate) fn rest(&mut self) -> std::io::Result<(String, Option<Value>)> {
        let mut text = String::new();
        while let Some(event) = self.event()? {
            if let Some(error) = event.get("error") {
                return Ok((text, Some(error.clone())));
            }
            text.push_str(
                event["choices"][0]["delta"]["content"]
                    .as_str()
                    .unwrap_or_default(),
            );
        }
        Ok((text, None))
    }

    fn whole(mut self) -> std::io::Result<Response> {
        let mut body = Vec::new();
        self.from.read_to_end(&mut body)?;
        let chunked = self.header("transfer-encoding").is_some();
        let body = if chunked { unchunk(&body) } else { body };
        let json = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Response {
            status: self.status,
            headers: self.headers,
            json,
        })
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).ok();
        let size = size
            .and_then(|size| usize::from_str_radix(size, 16).ok())
            .unwrap_or(0);
        let start = end + 2;
        if size == 0 || bytes.len() < start + size + 2 {
            break;
        }
        whole.extend(&bytes[start..start + size]);
        bytes = &bytes[start + size + 2..];
    }
    whole
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) json: Value,
}

/// Waits for something to come about, at most two minutes.
#[allow(clippy::disallowed_methods)] // Real processes are waited for in real time.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "not within two minutes: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
