//! A server that behaves as badly as it is told to, one fault a request, and notes what it was asked.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a server does to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It answers as it should.
    None,
    /// It hangs up after that many bytes of the body.
    Cut(usize),
    /// It is silent after that many bytes of the body, for longer than anybody waits.
    Stall(usize),
    /// It sends the body in small pieces, with pauses between them.
    Slow,
    /// It answers with a status, and perhaps says when to come back.
    Status(u16, Option<u64>),
    /// It sends all, whatever part was asked for.
    NoRanges,
    /// It promises that many bytes more, or fewer, than it has.
    Length(i64),
    /// One byte of the body is wrong.
    Byte(usize),
    /// From now on it has another file under the address.
    Changed(Vec<u8>),
    /// The same, and it passes over `If-Range`.
    ChangedUnseen(Vec<u8>),
    /// It answers with a part that nobody asked for.
    OtherRange,
    /// It names the file by no mark, and hangs up after that many bytes of the body.
    CutUnmarked(usize),
    /// It sends the caller elsewhere.
    Redirect(String),
    /// It hangs up without a word.
    Nothing,
    /// What it says is no HTTP.
    Noise,
    /// It packs the body, as it says.
    Packed,
}

/// What a server was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) from: Option<usize>,
    pub(crate) if_range: Option<String>,
    pub(crate) if_none_match: Option<String>,
    pub(crate) authorization: Option<String>,
    /// Bytes of the file that were sent.
    pub(crate) sent: usize,
}

#[derive(Default)]
struct State {
    file: Vec<u8>,
    version: u32,
    faults: VecDeque<Fault>,
    /// Answers for paths that are not the file: path, body.
    texts: Vec<(String, String)>,
    seen: Vec<Seen>,
}

/// A server on this machine; its threads end with the test's process.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) origin: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// Serves `file` under every path that has no text of its own.
    pub(crate) fn start(file: Vec<u8>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            file,
            ..State::default()
        }));
        let server = Server { origin, state };
        let ours = server.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let ours = ours.clone();
                // Whoever hangs up on it is no failure of the server.
                std::thread::spawn(move || ours.answer(socket).unwrap_or_default());
            }
        });
        server
    }

    pub(crate) fn address(&self) -> String {
        format!("{}/some/x.gguf", self.origin)
    }

    pub(crate) fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults = faults.into_iter().collect();
    }

    pub(crate) fn text(&self, path: &str, body: String) {
        let mut state = self.state.lock().unwrap();
        state.texts.push((path.to_owned(), body));
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        self.state.lock().unwrap().file.clone()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Bytes of the file sent in all.
    pub(crate) fn sent(&self) -> usize {
        self.seen().iter().map(|seen| seen.sent).sum()
    }

    fn answer(&self, mut socket: TcpStream) -> std::io::Result<()> {
        let Some(asked) = read(&socket)? else {
            return Ok(());
        };
        let (fault, mut file, mark) = {
            let mut state = self.state.lock().unwrap();
            let text = state.texts.iter().find(|(path, _)| *path == asked.path);
            if let Some(text) = text.map(|(_, text)| text.clone()) {
                state.seen.push(asked);
                drop(state);
                let length = text.len();
                return write!(
                    socket,
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
                );
            }
            let fault = state.faults.pop_front().unwrap_or(Fault::None);
            if let Fault::Changed(file) | Fault::ChangedUnseen(file) = &fault {
                state.file = file.clone();
                state.version += 1;
            }
            (fault, state.file.clone(), format!("\"v{}\"", state.version))
        };
        let number = {
            let mut state = self.state.lock().unwrap();
            state.seen.push(asked.clone());
            state.seen.len() - 1
        };
        if let Fault::Byte(at) = fault {
            let at = at % file.len();
            file[at] ^= 1;
        }
        let mut head = match &fault {
            Fault::Nothing => return Ok(()),
            Fault::Noise => return socket.write_all(b"SSH-2.0-x\r\n\r\n"),
            Fault::Status(status, after) => {
                let after = after.map(|after| format!("Retry-After: {after}\r\n"));
                let after = after.unwrap_or_default();
                return write!(
                    socket,
                    "HTTP/1.1 {status} X\r\n{after}Content-Length: 4\r\nConnection: close\r\n\r\nbusy"
                );
            }
            Fault::Redirect(there) => {
                return write!(
                    socket,
                    "HTTP/1.1 302 X\r\nLocation: {there}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
            }
            _ => "Connection: close\r\nAccept-Ranges: bytes\r\n".to_owned(),
        };
        if !matches!(fault, Fault::CutUnmarked(_)) {
            head += &format!("ETag: {mark}\r\n");
        }
        if fault == Fault::Packed {
            head += "Content-Encoding: gzip\r\n";
        }
        if asked.if_none_match.as_ref() == Some(&mark) {
            return write!(socket, "HTTP/1.1 304 X\r\n{head}\r\n");
        }
        let believed = asked
            .if_range
            .as_ref()
            .is_none_or(|if_range| *if_range == mark)
            || matches!(fault, Fault::ChangedUnseen(_));
        let from = asked.from.filter(|_| believed && fault != Fault::NoRanges);
        let total = file.len();
        let (status, from) = match from {
            Some(from) if from >= total => {
                return write!(
                    socket,
                    "HTTP/1.1 416 X\r\nContent-Range: bytes */{total}\r\n{head}Content-Length: 0\r\n\r\n"
                );
            }
            Some(from) => {
                let said = if fault == Fault::OtherRange {
                    from / 2
                } else {
                    from
                };
                head += &format!("Content-Range: bytes {said}-{}/{total}\r\n", total - 1);
                (206, from)
            }
            None => (200, 0),
        };
        let body = &file[from..];
        let promised = match fault {
            Fault::Length(more) => (body.len() as i64 + more).max(0) as usize,
            _ => body.len(),
        };
        let body = &body[..body.len().min(promised)];
        write!(
            socket,
            "HTTP/1.1 {status} X\r\n{head}Content-Length: {promised}\r\n\r\n"
        )?;
        let end = match fault {
            Fault::Cut(at) | Fault::CutUnmarked(at) | Fault::Stall(at) => at.min(body.len()),
            _ => body.len(),
        };
        let piece = if fault == Fault::Slow {
            body.len() / 8 + 1
        } else {
            1 << 16
        };
        for piece in body[..end].chunks(piece) {
            if fault == Fault::Slow {
                std::thread::sleep(Duration::from_millis(10));
            }
            socket.write_all(piece)?;
            self.state.lock().unwrap().seen[number].sent += piece.len();
        }
        if matches!(fault, Fault::Stall(_)) {
            std::thread::sleep(Duration::from_secs(2));
        }
        Ok(())
    }
}

fn read(socket: &TcpStream) -> std::io::Result<Option<Seen>> {
    let mut lines = BufReader::new(socket).lines();
    let Some(first) = lines.next() else {
        return Ok(None);
    };
    let mut seen = Seen {
        path: first?.split(' ').nth(1).unwrap_or_default().to_owned(),
        ..Seen::default()
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        let value = value.to_owned();
        match &name.to_ascii_lowercase()[..] {
            "range" => {
                let digits = value.trim_start_matches("bytes=").trim_end_matches('-');
                seen.from = digits.parse().ok();
            }
            "if-range" => seen.if_range = Some(value),
            "if-none-match" => seen.if_none_match = Some(value),
            "authorization" => seen.authorization = Some(value),
            _ => {}
        }
    }
    Ok(Some(seen))
}
