//! What went wrong, for a person, with the next step. The bus's own errors are put into words; the daemon's are left as they are.

/// What went wrong, in the daemon's words where it spoke, and the next step.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// The D-Bus error name, empty for what was found on this side.
    pub(crate) name: String,
    pub(crate) message: String,
    pub(crate) next: Option<&'static str>,
}

impl Trouble {
    pub(crate) fn new(message: impl Into<String>) -> Trouble {
        Trouble {
            name: String::new(),
            message: message.into(),
            next: None,
        }
    }

    /// True for `org.utterd.Utterd1.Error.<word>` and `org.freedesktop.DBus.Error.<word>`.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.name.rsplit('.').next() == Some(word)
    }
}

impl From<zbus::Error> for Trouble {
    fn from(error: zbus::Error) -> Trouble {
        let (name, message) = match error {
            zbus::Error::MethodError(name, message, _) => {
                let message = message.unwrap_or_else(|| name.to_string());
                (name.to_string(), message)
            }
            zbus::Error::InputOutput(why) if why.kind() == std::io::ErrorKind::TimedOut => (
                "org.freedesktop.DBus.Error.Timeout".into(),
                "utterd did not answer within 10 s".into(),
            ),
            zbus::Error::InputOutput(why) => (String::new(), format!("the connection to the bus broke: {why}")),
            other => (String::new(), other.to_string()),
        };
        let mut trouble = Trouble { name, message, next: None };
        (trouble.message, trouble.next) = explain(&trouble);
        trouble
    }
}

/// The bus's own errors say little to a person; the daemon's already say what to do and are left as they are.
fn explain(trouble: &Trouble) -> (String, Option<&'static str>) {
    const START: &str = "start it with: systemctl --user start utterd (or run: utterd --session)";
    const LOG: &str = "its log says more: journalctl --user -u utterd, or journalctl -u utterd";
    let word = trouble.name.strip_prefix("org.freedesktop.DBus.Error.").unwrap_or_default();
    match word {
        "ServiceUnknown" | "NameHasNoOwner" => ("utterd is not running".into(), Some(START)),
        "NoReply" | "Disconnected" => ("utterd went away before it answered".into(), Some(LOG)),
        "Timeout" => (trouble.message.clone(), Some(LOG)),
        "AccessDenied" => (
            format!("the bus refused: {}", trouble.message),
            Some("on the system bus only root and the group utterd may do this; --user takes the session bus"),
        ),
        "UnknownMethod" | "UnknownInterface" | "UnknownProperty" => (
            format!("this utterd cannot do that: {}", trouble.message),
            Some("compare the versions: utterctl --version, utterctl status"),
        ),
        // In the daemon's words: they name the session.
        "UnknownObject" => (trouble.message.clone(), Some("utterctl sessions lists the open ones")),
        _ if word.starts_with("Spawn.") => (format!("the bus could not start utterd: {}", trouble.message), Some(LOG)),
        _ => (trouble.message.clone(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_daemon_is_explained_and_the_daemons_own_words_are_kept() {
        let said = |name: &str| {
            explain(&Trouble {
                name: name.into(),
                message: "as told".into(),
                next: None,
            })
        };
        let (message, next) = said("org.freedesktop.DBus.Error.ServiceUnknown");
        assert_eq!(message, "utterd is not running");
        assert!(next.unwrap().contains("systemctl --user start utterd"));
        assert_eq!(said("org.utterd.Utterd1.Error.NoSuchVoice"), ("as told".into(), None));
        assert_eq!(said("org.freedesktop.DBus.Error.InvalidArgs"), ("as told".into(), None));
        assert!(said("org.freedesktop.DBus.Error.UnknownProperty").1.is_some());
        let (message, next) = said("org.freedesktop.DBus.Error.UnknownObject");
        assert!(message == "as told" && next.unwrap().contains("utterctl sessions"));
    }

    #[test]
    fn an_error_is_known_by_its_last_word() {
        let trouble = Trouble {
            name: "org.utterd.Utterd1.Error.NoSuchSession".into(),
            message: String::new(),
            next: None,
        };
        assert!(trouble.is("NoSuchSession") && !trouble.is("Session"));
    }
}
