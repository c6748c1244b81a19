//! Object paths: which object a call is for, and session ids escaped as sd_bus_path_encode does.

/// The root object.
pub(super) const ROOT: &str = "/org/utterd/Utterd1";
const SESSIONS: &str = "/org/utterd/Utterd1/session";

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// `/org/utterd/Utterd1`.
    Root,
    /// The parent of all sessions.
    Sessions,
    /// One session, by its id.
    Session(String),
    /// On the way to the root; the name of the next element.
    Ancestor(&'static str),
    Unknown,
}

impl Node {
    pub(super) fn of(path: &str) -> Self {
        match path {
            ROOT => Self::Root,
            SESSIONS => Self::Sessions,
            "/" => Self::Ancestor("org"),
            "/org" => Self::Ancestor("utterd"),
            "/org/utterd" => Self::Ancestor("Utterd1"),
            _ => match path.strip_prefix(SESSIONS).and_then(|p| p.strip_prefix('/')).and_then(decode) {
                Some(id) => Self::Session(id),
                None => Self::Unknown,
            },
        }
    }
}

/// The path of a session's object.
pub(super) fn session_path(id: &str) -> String {
    format!("{SESSIONS}/{}", encode(id))
}

/// Letters and digits stand for themselves (a leading digit does not), every other byte is `_xx`; the empty string is `_`.
pub(super) fn encode(id: &str) -> String {
    if id.is_empty() {
        return "_".to_owned();
    }
    let mut out = String::with_capacity(id.len());
    for (at, byte) in id.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("_{byte:02x}"));
        }
    }
    out
}

fn decode(label: &str) -> Option<String> {
    let mut out = Vec::with_capacity(label.len());
    let mut bytes = label.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'_' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else if byte.is_ascii_alphanumeric() {
            out.push(byte);
        } else {
            return None;
        }
    }
    String::from_utf8(out).ok().filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_the_way_through_a_path() {
        for id in ["default", "1st", "a.b_c:d-e", "A9"] {
            assert_eq!(Node::of(&session_path(id)), Node::Session(id.to_owned()));
        }
        assert_eq!(encode("1a_b"), "_31a_5fb");
    }

    #[test]
    fn broken_labels_name_nothing() {
        for label in ["", "_", "_4", "_zz", "_ff", "a/b"] {
            assert_eq!(Node::of(&format!("/org/utterd/Utterd1/session/{label}")), Node::Unknown, "{label}");
        }
    }
}
