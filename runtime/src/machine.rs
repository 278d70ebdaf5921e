//! What this machine is called, and at which addresses others may find it.

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The machine's name as far as a troop's names go; `node` where it has none.
pub fn name() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    plain(&text)
}

/// The part of a name that may stand in listings.
fn plain(text: &str) -> String {
    let first = text.trim().split('.').next().unwrap_or_default();
    let lawful = |c: &char| c.is_ascii_alphanumeric() || "_-".contains(*c);
    let name: String = first.chars().filter(lawful).take(NAME_CHARS_MAX).collect();
    match troop_actors::keyring::check_name(&name) {
        Ok(()) => name,
        Err(_) => "node".to_owned(),
    }
}

/// The addresses at which others may find what listens on `bound`, the likeliest first: an address that
/// stands for all of the machine is replaced by those of its networks. Only where nothing else is left, the
/// loopback.
pub fn reachable(bound: &[SocketAddr]) -> Vec<SocketAddr> {
    reachable_among(bound, &networks())
}

fn reachable_among(bound: &[SocketAddr], networks: &[IpAddr]) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for address in bound {
        let every: Vec<IpAddr> = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => {
                let ours = networks.iter().filter(|ip| ip.is_ipv4()).copied();
                ours.chain([Ipv4Addr::LOCALHOST.into()]).collect()
            }
            IpAddr::V6(ip) if ip.is_unspecified() => {
                let ours = networks.iter().copied();
                ours.chain([Ipv6Addr::LOCALHOST.into()]).collect()
            }
            one => vec![one],
        };
        found.extend(every.iter().map(|ip| SocketAddr::new(*ip, address.port())));
    }
    found.sort_by_key(|address| order(address.ip()));
    found.dedup();
    let far = |address: &SocketAddr| !address.ip().is_loopback();
    if found.iter().any(far) {
        found.retain(far);
    }
    found.truncate(ADDRESSES_MAX);
    found
}

/// Friends mostly share a network; then come addresses that the whole world can reach.
fn order(ip: IpAddr) -> u8 {
    match ip {
        ip if ip.is_loopback() => 3,
        IpAddr::V4(ip) if ip.is_private() => 0,
        IpAddr::V4(_) => 1,
        IpAddr::V6(_) => 2,
    }
}

/// The addresses of this machine's networks, without loopback and those that mean something only on one link.
fn networks() -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the call fills `list` or fails; what it filled is read below and freed once.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return found;
    }
    let mut next = list;
    // SAFETY: `next` is null or an entry of the list, which is not freed before the loop ends.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: the name of an entry ends in a zero and lives as long as the list.
        let loopback = unsafe { CStr::from_ptr(entry.ifa_name) } == c"lo";
        if entry.ifa_flags & libc::IFF_UP as u32 != 0 && !loopback {
            // SAFETY: the address is null or of the family it names.
            found.extend(unsafe { address(entry.ifa_addr) });
        }
        next = entry.ifa_next;
    }
    // SAFETY: the list came from getifaddrs and nothing of it is used any more.
    unsafe { libc::freeifaddrs(list) };
    found.retain(|ip| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    });
    found
}

/// The IP address in a socket address, if it is one.
///
/// # Safety
/// `from` is null, or points to an address of the family it names.
unsafe fn address(from: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: it is null or an address, whose family every address begins with.
    match i32::from(unsafe { from.as_ref() }?.sa_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is an IPv4 address.
            let from = unsafe { &*from.cast::<libc::sockaddr_in>() };
            Some(Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is an IPv6 address.
            let from = unsafe { &*from.cast::<libc::sockaddr_in6>() };
            Some(Ipv6Addr::from(from.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

/// Addresses that are told, at most: a machine with many bridges has some that lead nowhere, and an invitation is to be
/// short.
const ADDRESSES_MAX: usize = 4;
const NAME_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bound: &[&str], networks: &[&str]) -> Vec<String> {
        let bound: Vec<_> = bound.iter().map(|text| text.parse().unwrap()).collect();
        let networks: Vec<_> = networks.iter().map(|text| text.parse().unwrap()).collect();
        let found = reachable_among(&bound, &networks);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_of_a_machine_is_its_networks_and_the_loopback_only_where_there_is_no_other() {
        let networks = ["2001:db8::1", "93.184.216.34", "192.168.1.20"];
        assert_eq!(
            told(&["0.0.0.0:9001"], &networks),
            ["192.168.1.20:9001", "93.184.216.34:9001"]
        );
        assert_eq!(
            told(&["[::]:9001"], &networks),
            [
                "192.168.1.20:9001",
                "93.184.216.34:9001",
                "[2001:db8::1]:9001"
            ]
        );
        assert_eq!(told(&["0.0.0.0:9001"], &[]), ["127.0.0.1:9001"]);
        assert_eq!(told(&["127.0.0.1:9001"], &networks), ["127.0.0.1:9001"]);
        assert_eq!(
            told(&["10.0.0.1:1", "10.0.0.1:1"], &networks),
            ["10.0.0.1:1"]
        );
        assert_eq!(told(&[], &networks), [""; 0]);
        let many: Vec<String> = (0..9).map(|n| format!("10.0.0.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(told(&["0.0.0.0:1"], &many).len(), ADDRESSES_MAX);
    }

    #[test]
    fn the_networks_of_this_machine_can_be_read() {
        assert!(networks().iter().all(|ip| !ip.is_loopback()));
    }

    #[test]
    fn a_machine_has_a_name_that_listings_can_show() {
        let cases = [
            ("bo-desktop\n", "bo-desktop"),
            ("gpu-1.example.org", "gpu-1"),
            ("", "node"),
            ("owner", "node"),
            ("Anas Büro", "AnasBro"),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text), expected);
        }
        assert_eq!(plain(&"n".repeat(99)).len(), 64);
        assert!(!name().is_empty());
    }
}
