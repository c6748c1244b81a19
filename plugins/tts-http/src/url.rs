//! Just enough of a URL: scheme, host, port, target. Everything else (user names, fragments, other schemes) is refused or cut off.

use std::fmt;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query, as they stand in the request line.
    pub(crate) target: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (tls, rest) = match (strip(text, "http://"), strip(text, "https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(format!("{text:?} is no http:// or https:// URL")),
        };
        if !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("{text:?} has a space or something that is not ASCII: write it as %20"));
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("a user name or password in a URL; use api-key-secret or api-key-file".into());
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => v6.split_once(']').ok_or_else(|| format!("{text:?} has a [ without a ]"))?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => Some(if tls { 443 } else { 80 }),
            None => None,
            Some(port) => port.parse::<u16>().ok().filter(|p| *p != 0),
        };
        let port = port.ok_or_else(|| format!("{text:?} has no valid port"))?;
        if host.is_empty() {
            return Err(format!("{text:?} has no host"));
        }
        Ok(Self {
            tls,
            host: host.to_ascii_lowercase(),
            port,
            target: if target.starts_with('/') {
                target.to_owned()
            } else {
                format!("/{target}")
            },
        })
    }

    /// Where a `Location` leads from here.
    pub(crate) fn join(&self, location: &str) -> Result<Self, String> {
        if location.contains("://") {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{}:{location}", self.scheme()));
        }
        let target = if location.starts_with('/') {
            location.to_owned()
        } else {
            let path = self.target.split('?').next().unwrap_or_default();
            format!("{}{location}", &path[..=path.rfind('/').unwrap_or(0)])
        };
        Self::parse(&format!("{}://{}{target}", self.scheme(), self.authority()))
    }

    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        (self.tls, &self.host, self.port) == (other.tls, &other.host, other.port)
    }

    /// For the Host header.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// Without the query, which may hold a text or a key.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{}://{}{path}", self.scheme(), self.authority())
    }
}

fn strip<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let head = text.get(..scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then(|| &text[scheme.len()..])
}

/// For a query or a path segment: all but the unreserved is escaped.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_as_people_write_them() {
        let url = Url::parse("http://127.0.0.1:8880/v1/audio/speech?x=1#y").unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.target.as_str()),
            ("127.0.0.1", 8880, "/v1/audio/speech?x=1")
        );
        assert_eq!(url.to_string(), "http://127.0.0.1:8880/v1/audio/speech");
        let url = Url::parse("HTTPS://[::1]?q").unwrap();
        assert_eq!(
            (url.tls, url.host.as_str(), url.port, url.target.as_str()),
            (true, "::1", 443, "/?q")
        );
        assert_eq!(url.authority(), "[::1]");
        for wrong in [
            "",
            "ftp://x",
            "http://",
            "http://u:p@h/",
            "http://h:0/",
            "http://h:x/",
            "http://h/a b",
            "http://[::1",
        ] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_location_may_be_short() {
        let from = Url::parse("http://a:1/v1/speech?x").unwrap();
        for (location, to) in [
            ("/other", "http://a:1/other"),
            ("other", "http://a:1/v1/other"),
            ("https://b/x", "https://b/x"),
            ("//c:2/x", "http://c:2/x"),
        ] {
            assert_eq!(from.join(location).unwrap().to_string(), to);
        }
        assert!(from.same_origin(&from.join("/x").unwrap()));
        assert!(!from.same_origin(&from.join("//b/x").unwrap()));
        assert!(from.join("ftp://x").is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics_and_no_line_break_survives(text in "\\PC{0,60}|https?://[a-z\\[\\]:/@?#%\r\n]{0,40}") {
            if let Ok(url) = Url::parse(&text) {
                prop_assert!(url.target.starts_with('/'));
                prop_assert!(!url.target.contains(['\r', '\n', ' ']));
                if let Ok(next) = url.join(&text) { prop_assert!(!next.target.contains(['\r', '\n'])); }
            }
            prop_assert!(escape(&text).bytes().all(|b| b.is_ascii_graphic()));
        }
    }
}
