//! Addresses on the web, as strict as a download needs them: `https://host[:port]/path[?query]`.
//!
//! Whatever a person typed or a server redirects to is read here and nowhere else. There is no user and no
//! password in an address, no white space, no other scheme, and what names the origin is compared exactly.

use core::net::IpAddr;

/// Where something lies on the web.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

impl Address {
    /// Reads an address; a fragment is no part of it.
    pub fn parse(text: &str) -> Result<Address, String> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(format!(
                "an address of {} bytes, {ADDRESS_BYTES_MAX} are the limit",
                text.len()
            ));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
            return Err("an address has no spaces, no backslashes and only ASCII".to_owned());
        }
        let (secure, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err("an address begins with https://".to_owned());
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/{path}"),
        };
        if authority.contains('@') {
            return Err("an address has no user and no password in it".to_owned());
        }
        let (host, port) = match authority.rfind(':') {
            Some(at) if !authority[at..].contains(']') => (&authority[..at], &authority[at + 1..]),
            _ => (authority, ""),
        };
        let port = match (port, secure) {
            ("", true) => 443,
            ("", false) => 80,
            (port, _) => {
                let number = port.parse().ok().filter(|port| *port != 0);
                number.ok_or_else(|| format!("{port:?} is no port"))?
            }
        };
        let name = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        let good = match host.strip_prefix('[') {
            Some(rest) => rest
                .strip_suffix(']')
                .is_some_and(|address| address.parse::<core::net::Ipv6Addr>().is_ok()),
            None => !host.is_empty() && host.len() <= 253 && host.bytes().all(name),
        };
        if !good {
            return Err(format!("{host:?} is no host"));
        }
        Ok(Address {
            secure,
            host: host.to_ascii_lowercase(),
            port,
            path,
        })
    }

    /// The address that `location` means when it is said here.
    pub(super) fn join(&self, location: &str) -> Result<Address, String> {
        let scheme = if self.secure { "https" } else { "http" };
        let location = location.split('#').next().unwrap_or_default();
        if location.contains("://") && !location.starts_with('/') {
            return Address::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Address::parse(&format!("{scheme}://{rest}"));
        }
        let origin = self.origin();
        if location.starts_with('/') {
            return Address::parse(&format!("{origin}{location}"));
        }
        let path = self.path.split('?').next().unwrap_or_default();
        let folder = &path[..path.rfind('/').map_or(0, |at| at + 1)];
        Address::parse(&format!("{origin}{folder}{location}"))
    }

    /// The address of `path` at the same origin, below this one's own path.
    pub(super) fn below(&self, path: &str) -> Result<Address, String> {
        let base = self.path.trim_end_matches('/');
        Address::parse(&format!("{}{base}/{path}", self.origin()))
    }

    /// Whether what is said to one is said to the other.
    pub(super) fn same_origin(&self, other: &Address) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }

    /// Whether it is asked over TLS.
    pub(super) fn secure(&self) -> bool {
        self.secure
    }

    /// Whether it is this machine's own, whatever a name server says.
    pub(super) fn loopback(&self) -> bool {
        let number = self.host.trim_matches(['[', ']']);
        self.host == "localhost" || number.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }

    /// The last part of its path: what the file is called there.
    pub(super) fn file_name(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }

    /// The same without its query, which may hold a secret: for messages and logs.
    pub(super) fn plain(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{}{path}", self.origin())
    }

    fn origin(&self) -> String {
        let (scheme, usual) = if self.secure {
            ("https", 443)
        } else {
            ("http", 80)
        };
        match self.port == usual {
            true => format!("{scheme}://{}", self.host),
            false => format!("{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

/// Bytes of an address, at most; signed ones run to about a thousand.
const ADDRESS_BYTES_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_strictly_and_says_itself_again() {
        for (text, said) in [
            ("https://a.example/x.gguf", "https://a.example/x.gguf"),
            ("https://A.Example:443/x?y=1#f", "https://a.example/x?y=1"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http://[::1]:8080/x", "http://[::1]:8080/x"),
            ("https://a.example?x", "https://a.example/?x"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), said, "{text}");
        }
        for text in [
            "",
            "a.example/x",
            "ftp://a.example/x",
            "https://",
            "https:///x",
            "https://user@a.example/",
            "https://a.example@b.example/",
            "https://a.example:0/",
            "https://a.example:99999/",
            "https://a.example:x/",
            "https://a b/",
            "https://a.example/ x",
            "https://a.example\\@b/",
            "https://[::1/",
            "https://[a]/",
            "https://ä.example/",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
        assert!(Address::parse(&format!("https://a/{}", "x".repeat(9000))).is_err());
    }

    #[test]
    fn a_location_is_read_from_where_it_was_said() {
        let here = Address::parse("https://a.example:8443/one/two?three").unwrap();
        for (location, there) in [
            ("https://b.example/x", "https://b.example/x"),
            ("//b.example/x", "https://b.example/x"),
            ("/x?y", "https://a.example:8443/x?y"),
            ("x", "https://a.example:8443/one/x"),
            ("?x", "https://a.example:8443/one/?x"),
            (
                "/x?to=https://b.example",
                "https://a.example:8443/x?to=https://b.example",
            ),
        ] {
            assert_eq!(here.join(location).unwrap().to_string(), there);
        }
        assert!(here.join("file:///etc/passwd").is_err());
        assert!(here.join("https://u:p@b.example/").is_err());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let address = |text| Address::parse(text).unwrap();
        let here = address("https://a.example/x");
        assert!(here.same_origin(&address("https://A.example:443/y")));
        for other in [
            "http://a.example/x",
            "https://a.example:444/x",
            "https://b.example/x",
            "https://a.example.b.example/x",
        ] {
            assert!(!here.same_origin(&address(other)), "{other}");
        }
        for (text, loopback) in [
            ("http://localhost/", true),
            ("http://127.1.2.3/", true),
            ("http://[::1]/", true),
            ("http://localhost.example/", false),
            ("http://127.0.0.1.example/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(address(text).loopback(), loopback, "{text}");
        }
    }
}
