//! Machines in network namespaces of their own, on one bridge; all on the loopback where those are not permitted.
//!
//! The test that wants them is run once more by `unshare`, as the root of a user namespace in which it may make
//! interfaces and rules: nothing of it is seen outside, and all of it is gone with that process.

#[path = "relay.rs"]
pub(crate) mod relay;

use super::support::until;
use relay::relay;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

/// Runs `body` among machines with a network of their own; `name` is the test's.
pub(crate) fn on_a_network(name: &str, body: impl FnOnce(Network)) {
    if std::env::var_os(INSIDE).is_some() {
        return body(Network::separate());
    }
    if !permitted() {
        // Past the harness, which keeps what passing tests print to itself: what is left out must be seen.
        let said = format!(
            "{name}: no network namespaces here, so without partitions, loss, delay and scan\n"
        );
        let _ = std::io::stderr().write_all(said.as_bytes());
        return body(Network::loopback());
    }
    let this = std::env::current_exe().expect("the test's own program");
    let status = unshare()
        .args(["--user", "--map-root-user", "--net", "--kill-child"])
        .arg(this)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(status.expect("unshare runs").success());
}

/// `unshare`, which finds the programs of an administrator even where the path of a user lacks them.
fn unshare() -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("unshare");
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// Whether this user may have namespaces, and the programs for them are here.
fn permitted() -> bool {
    let wanted = "ip link add name troop type bridge && nft add table inet troop";
    let tried = unshare()
        .args(["--user", "--map-root-user", "--net", "sh", "-c", wanted])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// What the machines of a test are joined by.
pub(crate) struct Network {
    separate: bool,
}

impl Network {
    /// All machines in one, told apart by their ports.
    pub(crate) fn loopback() -> Network {
        Network { separate: false }
    }

    fn separate() -> Network {
        say("ip link set lo up");
        say("ip link add name troop type bridge");
        say(&format!("ip addr add {}/24 dev troop", address(HERE)));
        say("ip link set troop up");
        Network { separate: true }
    }

    /// Whether partitions, loss, delay and scans are possible.
    pub(crate) fn is_separate(&self) -> bool {
        self.separate
    }

    /// Where the test itself is.
    pub(crate) fn here(&self) -> Host {
        if self.separate {
            rules(&[], "add table inet troop");
            chains(&[]);
        }
        Host {
            holder: None,
            number: self.separate.then_some(HERE),
        }
    }

    /// A new machine, the `number`th, counted from 2.
    pub(crate) fn host(&self, number: u8) -> Host {
        if !self.separate {
            return Host {
                holder: None,
                number: None,
            };
        }
        // It ends when the test does, however that ends: its input is then closed.
        let holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let host = Host {
            holder: Some(holder),
            number: Some(number),
        };
        let pid = host.pid();
        say(&format!(
            "ip link add name m{number} type veth peer name p{number}"
        ));
        say(&format!("ip link set m{number} master troop up"));
        // The namespace is there as soon as the holder has become what it was started for.
        until("the namespace is there", || {
            let own = std::fs::read_link("/proc/self/ns/net").ok()?;
            let its = std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
            (own != its).then_some(())
        });
        say(&format!("ip link set p{number} netns {pid}"));
        for words in [
            "ip link set lo up".to_owned(),
            format!("ip link set p{number} up"),
            format!("ip addr add {}/24 dev p{number}", address(number)),
        ] {
            run(&host.words(), &words);
        }
        chains(&host.words());
        host
    }
}

/// One machine of a network.
pub(crate) struct Host {
    holder: Option<Child>,
    number: Option<u8>,
}

impl Host {
    /// What a command begins with that is to run on it.
    pub(crate) fn words(&self) -> Vec<String> {
        match &self.holder {
            None => Vec::new(),
            Some(_) => {
                let namespace = format!("--net=/proc/{}/ns/net", self.pid());
                vec!["nsenter".to_owned(), namespace, "--".to_owned()]
            }
        }
    }

    /// Where its node is to listen for others.
    pub(crate) fn port(&self) -> String {
        match self.number {
            Some(_) => format!("0.0.0.0:{PORT}"),
            None => {
                let free = std::net::UdpSocket::bind("127.0.0.1:0");
                let free = free.and_then(|socket| socket.local_addr());
                free.expect("a free port").to_string()
            }
        }
    }

    /// Nothing passes between it and `other` any more.
    pub(crate) fn cut_from(&self, other: &Host) {
        let other = address(other.number.expect("a network"));
        rules(
            &self.words(),
            &format!("add rule inet troop inward ip saddr {other} drop"),
        );
        rules(
            &self.words(),
            &format!("add rule inet troop outward ip daddr {other} drop"),
        );
    }

    /// So many packets of a hundred that come to it are lost.
    pub(crate) fn lose(&self, percent: u32) {
        let rule = format!(
            "add rule inet troop inward udp dport 1-65535 numgen random mod 100 < {percent} drop"
        );
        rules(&self.words(), &rule);
    }

    /// What its node and those of the machines with these numbers say to each other takes long, whoever begins. It has
    /// to be the test's own, whose sockets stand between, and its node has yet to start.
    pub(crate) fn far_from(&self, others: &[u8]) {
        let own = self.number.filter(|number| *number == HERE);
        let own = address(own.expect("where the test is"));
        for (name, hook) in [("leaving", "output"), ("arriving", "prerouting")] {
            let chain =
                format!("add chain inet troop {name} {{ type nat hook {hook} priority -100; }}");
            rules(&[], &chain);
        }
        for other in others.iter().map(|number| address(*number)) {
            let there = relay(own, SocketAddr::from((other, PORT)));
            let here = relay(own, SocketAddr::from((own, PORT)));
            for rule in [
                format!(
                    "leaving udp sport {PORT} ip daddr {other} udp dport {PORT} dnat ip to {there}"
                ),
                format!(
                    "arriving ip saddr {other} ip daddr {own} udp dport {PORT} dnat ip to {here}"
                ),
            ] {
                rules(&[], &format!("add rule inet troop {rule}"));
            }
        }
    }

    /// Everything passes again.
    pub(crate) fn heal(&self) {
        rules(&self.words(), "flush chain inet troop inward");
        rules(&self.words(), "flush chain inet troop outward");
    }

    /// The sockets it has, as the kernel knows them: `tcp`, `tcp6`, `udp` or `udp6`.
    pub(crate) fn sockets(&self, kind: &str) -> Vec<Socket> {
        let table = std::fs::read_to_string(format!("/proc/{}/net/{kind}", self.pid()));
        let table = table.expect("the kernel's table");
        table.lines().skip(1).map(Socket::read).collect()
    }

    /// Its address.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.number.map_or(Ipv4Addr::LOCALHOST, address)
    }

    fn pid(&self) -> u32 {
        self.holder
            .as_ref()
            .map_or_else(std::process::id, Child::id)
    }
}

/// A socket of a machine.
pub(crate) struct Socket {
    pub(crate) port: u16,
    pub(crate) loopback: bool,
    pub(crate) listens: bool,
}

impl Socket {
    /// A line of the kernel's table: number, local address, remote address, state; in hexadecimal.
    fn read(line: &str) -> Socket {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = words[1].split_once(':').expect("an address and a port");
        Socket {
            port: u16::from_str_radix(port, 16).expect("a port"),
            // The words of an address are in the machine's order of bytes.
            loopback: match address.len() {
                8 => address.ends_with("7F"),
                _ => address == "00000000000000000000000001000000",
            },
            listens: words[3] == "0A",
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(holder) = &mut self.holder {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number)
}

fn chains(words: &[String]) {
    rules(words, "add table inet troop");
    for (name, hook) in [("inward", "input"), ("outward", "output")] {
        let chain =
            format!("add chain inet troop {name} {{ type filter hook {hook} priority 0; }}");
        rules(words, &chain);
    }
}

fn rules(words: &[String], rule: &str) {
    let mut words = words.iter().map(String::as_str).chain(["nft", rule]);
    let first = words.next().expect("one at least");
    let status = Command::new(first).args(words).status();
    assert!(status.expect("nft runs").success(), "{rule}");
}

fn say(line: &str) {
    run(&[], line);
}

fn run(words: &[String], line: &str) {
    let mut all = words.iter().map(String::as_str).chain(line.split(' '));
    let first = all.next().expect("one at least");
    let status = Command::new(first).args(all).status();
    assert!(status.expect("it runs").success(), "{line}");
}

const INSIDE: &str = "TROOP_TEST_INSIDE";
/// Where each node listens for others.
const PORT: u16 = 9001;
/// The test's own number on the bridge.
const HERE: u8 = 1;
