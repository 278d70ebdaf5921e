//! Listening: a TCP address or the unix socket, and which connections get a place.
//!
//! Places are few, and a stranger can take them all by connecting and saying nothing. So when there is no
//! place left, the connection that has been silent or talking slowly for the longest makes room; one whose
//! request is being served never does. If none can, the newcomer is told so and closed.

use super::connection::{Peer, serve, turn_away};
use super::shared::Shared;
use crate::problem::Problem;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};
use troop_actors::planted;

/// A way in, bound and ready.
pub(crate) enum Listener {
    /// A TCP address.
    Tcp {
        /// The socket.
        socket: TcpListener,
        /// Whether it asks for no key.
        keyless: bool,
    },
    /// The owner's socket.
    Control(UnixListener),
}

/// Binds a TCP address, which asks for a key if it must or if others can reach it. A predecessor's socket may take a moment to close.
pub(crate) async fn bind(address: SocketAddr, require_key: bool) -> io::Result<Listener> {
    let deadline = Instant::now() + BIND_TIME_MAX;
    loop {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(socket) => {
                let keyless = address.ip().is_loopback() && !require_key;
                return Ok(Listener::Tcp { socket, keyless });
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Binds the owner's socket at `path`, readable by nobody else from its first moment on. A socket that a
/// dead process left behind is replaced; one that answers is not.
pub(crate) async fn bind_control(path: &Path) -> io::Result<Listener> {
    let deadline = Instant::now() + BIND_TIME_MAX;
    while UnixStream::connect(path).await.is_ok() {
        if Instant::now() >= deadline {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another node is running here",
            ));
        }
        sleep(Duration::from_millis(20)).await;
    }
    if let Ok(metadata) = std::fs::symlink_metadata(path)
        && !metadata.file_type().is_socket()
    {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is not a socket is in the way",
        ));
    }
    // Bound in a folder that nobody else can enter, and moved to its place when nobody else can open it: a
    // socket is born with whatever rights the process's mask leaves.
    let mut beside = PathBuf::from(path).into_os_string();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let _ = std::fs::remove_dir_all(&beside);
    std::fs::DirBuilder::new().mode(0o700).create(&beside)?;
    let inside = beside.join("s");
    let placed = UnixListener::bind(&inside).and_then(|socket| {
        std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&inside, path)?;
        Ok(socket)
    });
    let _ = std::fs::remove_dir_all(&beside);
    let socket = placed?;
    Ok(Listener::Control(socket))
}

/// Accepts connections until it is dropped, and its connections with it.
pub(crate) async fn accept(listener: Listener, shared: Arc<Shared>) {
    let mut places = Places::default();
    loop {
        planted::meet("gateway-listener", "Accept");
        let accepted = tokio::select! {
            accepted = next(&listener) => accepted,
            Some(_) = places.tasks.join_next() => {
                places.sweep();
                continue;
            }
        };
        match accepted {
            Ok(Accepted::Tcp(stream, from, peer)) => {
                places.seat(stream, Some(from), peer, &shared);
            }
            Ok(Accepted::Control(stream, peer)) => places.seat(stream, None, peer, &shared),
            Err(error) => {
                // Out of file descriptors, most likely; some will be closed.
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

enum Accepted {
    Tcp(tokio::net::TcpStream, IpAddr, Peer),
    Control(UnixStream, Peer),
}

async fn next(listener: &Listener) -> io::Result<Accepted> {
    match listener {
        Listener::Tcp { socket, keyless } => {
            let (stream, from) = socket.accept().await?;
            // Tokens are small and must not wait for one another.
            let _ = stream.set_nodelay(true);
            let peer = Peer {
                control: false,
                keyless: *keyless,
                busy: AtomicBool::new(false),
            };
            Ok(Accepted::Tcp(stream, from.ip(), peer))
        }
        Listener::Control(socket) => {
            let (stream, _) = socket.accept().await?;
            let peer = Peer {
                control: true,
                keyless: true,
                busy: AtomicBool::new(false),
            };
            Ok(Accepted::Control(stream, peer))
        }
    }
}

/// The connections of one listener, in the order they came.
#[derive(Default)]
struct Places {
    tasks: JoinSet<()>,
    taken: BTreeMap<u64, Place>,
    next: u64,
}

struct Place {
    from: Option<IpAddr>,
    peer: Arc<Peer>,
    task: AbortHandle,
}

impl Places {
    fn sweep(&mut self) {
        self.taken.retain(|_, place| !place.task.is_finished());
    }

    fn seat<S>(&mut self, stream: S, from: Option<IpAddr>, peer: Peer, shared: &Arc<Shared>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // Programs of this machine, and a proxy on it, share one address and are not limited by it.
        let counted = from.filter(|from| !from.is_loopback());
        let alike = self
            .taken
            .values()
            .filter(|place| counted.is_some() && place.from == counted)
            .count();
        let full = self.taken.len() >= shared.limits.connections_max;
        let greedy = alike >= shared.limits.connections_per_address_max;
        if (full || greedy) && !self.make_room(counted.filter(|_| greedy)) {
            if self.tasks.len() >= shared.limits.connections_max + REFUSALS_MAX {
                return;
            }
            let shared = shared.clone();
            self.tasks.spawn(async move {
                let problem = Problem::overloaded("too many connections are open", 1000);
                turn_away(stream, &problem, &shared).await;
            });
            return;
        }
        let peer = Arc::new(peer);
        let task = self
            .tasks
            .spawn(serve(stream, peer.clone(), shared.clone()));
        self.taken.insert(self.next, Place { from, peer, task });
        self.next += 1;
    }

    /// Ends the oldest connection, of `from` if given, that is not being served; false if there is none.
    fn make_room(&mut self, from: Option<IpAddr>) -> bool {
        let oldest = self.taken.iter().find(|(_, place)| {
            let idle = !place.peer.busy.load(Ordering::Relaxed);
            idle && (from.is_none() || place.from == from)
        });
        let Some(oldest) = oldest.map(|(number, _)| *number) else {
            return false;
        };
        if let Some(place) = self.taken.remove(&oldest) {
            place.task.abort();
        }
        true
    }
}

/// Connections that the system may hold ready for us.
const BACKLOG: u32 = 1024;
/// How long to wait for a predecessor's socket to close.
const BIND_TIME_MAX: Duration = Duration::from_secs(3);
/// Newcomers that are being told so at once; more are closed without a word.
const REFUSALS_MAX: usize = 64;
