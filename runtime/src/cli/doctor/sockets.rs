//! Which sockets a process has open, by the kernel's own lists, and which of them are off the loopback.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A socket that somebody elsewhere can send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Socket {
    pub(super) kind: Kind,
    pub(super) address: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Tcp,
    Udp,
}

impl Socket {
    pub(super) fn is_far(&self) -> bool {
        !self.address.ip().is_loopback()
    }
}

impl std::fmt::Display for Socket {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Tcp => "tcp",
            Kind::Udp => "udp",
        };
        write!(to, "{kind} {}", self.address)
    }
}

/// What the process `pid` and its children listen on.
pub(super) fn listening(pid: u32) -> io::Result<BTreeSet<Socket>> {
    let mut inodes = BTreeSet::new();
    for pid in [pid].into_iter().chain(children(pid)) {
        // One that ends meanwhile listens on nothing.
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        for file in files.flatten() {
            let target = fs::read_link(file.path()).unwrap_or_default();
            let target = target.to_string_lossy();
            let inode = target.strip_prefix("socket:[");
            let inode = inode.and_then(|rest| rest.strip_suffix(']')?.parse::<u64>().ok());
            inodes.extend(inode);
        }
    }
    let mut found = BTreeSet::new();
    for (name, kind) in LISTS {
        let list = match fs::read_to_string(format!("/proc/{pid}/net/{name}")) {
            Ok(list) => list,
            // A system without IPv6 has no such list.
            Err(_) if name.ends_with('6') => continue,
            Err(error) => return Err(error),
        };
        let open = list.lines().skip(1).filter_map(|line| open(kind, line));
        let ours = open.filter(|(inode, _)| inodes.contains(inode));
        found.extend(ours.map(|(_, socket)| socket));
    }
    Ok(found)
}

fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let mut found = Vec::new();
    for thread in threads.into_iter().flatten().flatten() {
        let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().flat_map(str::parse::<u32>));
    }
    found
}

/// A line of a list, if its socket waits for somebody: the inode, and where.
fn open(kind: Kind, line: &str) -> Option<(u64, Socket)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, state, _, _, _, _, _, inode, ..] = words[..] else {
        return None;
    };
    let waits = match kind {
        Kind::Tcp => state == "0A",
        // One that is connected hears its peer only.
        Kind::Udp => state == "07",
    };
    let address = address(local).filter(|_| waits)?;
    let socket = Socket { kind, address };
    Some((inode.parse().ok()?, socket))
}

/// An address as the kernel prints it: words of four bytes, each as a number of this machine.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> = (0..ip.len() / 8)
        .map(|word| {
            let digits = ip.get(word * 8..word * 8 + 8)?;
            Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
        })
        .collect();
    let ip = match &words?[..] {
        [word] => IpAddr::V4(Ipv4Addr::from(*word)),
        words @ [_, _, _, _] => {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&words.concat());
            let ip = Ipv6Addr::from(bytes);
            ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

const LISTS: [(&str, Kind); 4] = [
    ("tcp", Kind::Tcp),
    ("tcp6", Kind::Tcp),
    ("udp", Kind::Udp),
    ("udp6", Kind::Udp),
];

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn lines_of_the_kernel_are_read_as_it_means_them() {
        let line = "  0: 0100007F:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4242 1 x";
        let expected = Socket {
            kind: Kind::Tcp,
            address: "127.0.0.1:9000".parse().unwrap(),
        };
        assert_eq!(open(Kind::Tcp, line), Some((4_242, expected)));
        assert_eq!(open(Kind::Udp, line), None);
        for text in ["", "x", "1: 2 3 0A", "0: 0100007F 0 0A 0 0 0 0 0 1"] {
            assert_eq!(open(Kind::Tcp, text), None);
        }
        let mapped = address("0000000000000000FFFF00000100007F:0001");
        assert_eq!(mapped, Some("127.0.0.1:1".parse().unwrap()));
    }

    #[test]
    fn what_this_process_listens_on_is_found_and_what_it_only_talks_on_is_not() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        let talk = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        let (near, far) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        let found = listening(std::process::id()).unwrap();
        let has = |kind, address| found.contains(&Socket { kind, address });
        assert!(has(Kind::Tcp, near) && has(Kind::Udp, far), "{found:?}");
        assert!(!has(Kind::Tcp, talk.local_addr().unwrap()));
        let far = found.iter().filter(|socket| socket.is_far());
        assert!(far.count() >= 1);
    }
}
