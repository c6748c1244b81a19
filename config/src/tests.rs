//! The crate as its users see it: files in folders, settings or errors out.

use super::*;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// A root folder of its own, with the search folders of a user's daemon below it.
struct World {
    root: TempDir,
    source: Source,
}

impl World {
    fn new() -> World {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let source = Source {
            scope: Scope::System,
            file: None,
            main: at("etc"),
            drop_ins: vec![at("lib"), at("etc"), at("run")],
            user: Some(at("home")),
            user_plugins: Some(at("home/plugins")),
        };
        World { root, source }
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn load(&self) -> Result<Settings, ConfigErrors> {
        load(&self.source)
    }

    fn errors(&self) -> Vec<String> {
        self.load()
            .unwrap_err()
            .0
            .iter()
            .map(|error| error.to_string().replace(&format!("{}/", self.root.path().display()), ""))
            .collect()
    }
}

fn text(text: &str) -> Result<Settings, ConfigErrors> {
    load_text(Path::new("x.toml"), text, &Source::system())
}

fn errors(of: &str) -> Vec<String> {
    text(of).unwrap_err().0.iter().map(ToString::to_string).collect()
}

/// The shipped file with every commented key switched on.
fn shipped_switched_on() -> String {
    let is_key = |line: &str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase());
    SHIPPED
        .lines()
        .map(|line| if is_key(line) { &line[1..] } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_shipped_file_means_the_defaults() {
    assert_eq!(text(SHIPPED).unwrap(), Settings::default());
    assert_eq!(text(&shipped_switched_on()).unwrap(), Settings::default());
}

#[test]
fn the_shipped_file_shows_every_key() {
    let fragment = Fragment::parse(Path::new("utterd.toml"), &shipped_switched_on()).unwrap();
    let shows = |key: &str| {
        key.split('.').try_fold(&fragment.root, |node, key| match &node.value {
            fragment::Value::Table(table) => table.get(key),
            _ => None,
        })
    };
    for key in check::keys(&Source::system()) {
        assert!(
            ["plugin", "backend"].contains(&key.as_str()) || shows(&key).is_some(),
            "{key} is missing in utterd.toml"
        );
    }
}

#[test]
fn the_examples_in_the_shipped_file_are_right() {
    let examples: String = SHIPPED
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .filter(|line| *line != "…")
        .map(|line| format!("{line}\n"))
        .collect();
    let settings = text(&examples).unwrap();
    let backend = &settings.backend["tts-espeak-ng"];
    assert_eq!(
        (backend.max_concurrent, backend.id_header.as_deref()),
        (Some(8), Some("X-Request-Id"))
    );
    assert!(settings.plugin.contains_key("tts-espeak-ng"));
}

#[test]
fn without_any_file_the_defaults_hold() {
    assert_eq!(World::new().load().unwrap(), Settings::default());
}

#[test]
fn an_empty_file_is_fine() {
    let world = World::new();
    world.write("etc/utterd.toml", "");
    world.write("etc/utterd.toml.d/a.toml", "# nothing\n");
    assert_eq!(world.load().unwrap(), Settings::default());
}

#[test]
fn every_key_reaches_its_setting() {
    let settings = text(
        r#"
        audio.driver = "timer"
        jack = { client-name = "mouth", connect = ["system:playback_1", "a b:c:d"], ports = 64 }
        timer = { rate = 8_000, period-frames = 0x10 }
        plugins = { dirs = ["/a"], disabled = ["tts-tone"] }
        plugin.tts-x = { url = "http://x", n = 1, f = 0.5, on = true, list = [1, "a"], deep = { when = 2026-11-21 } }
        backend.tts-x = { max-concurrent = 3, id-header = "X-Id", cancel-url = "https://x/c/{id}" }
        speech = { backend = "tts-x", voice = "Ada (fast)", language = "en-GB", rate = 2, pitch = 0.5, gain-db = -3.0 }
        output.gain-db = 24
        limits = { text-bytes = 1024, utterances = 1, sessions = 2 }
        synthesis.look-ahead-ms = 500
        cancel = { tombstone-ms = 3000, fade-ms = 0, reply-ms = 50 }
        barge-in.false-interruption-ms = 1500
        collect = { ttl-ms = 1000, max-bytes = 2048, max-chunks = 7 }
        stream.idle-ms = 100
        log = { level = "trace", format = "journal" }
        metrics.tx-metrics-s = 0
        "#,
    )
    .unwrap();
    let expected = Settings {
        audio: Audio { driver: Driver::Timer },
        jack: Jack {
            client_name: "mouth".into(),
            connect: vec!["system:playback_1".into(), "a b:c:d".into()],
            ports: 64,
        },
        timer: Timer {
            rate: 8000,
            period_frames: 16,
        },
        plugins: Plugins {
            dirs: vec!["/a".into()],
            disabled: vec!["tts-tone".into()],
        },
        plugin: [(
            "tts-x".to_owned(),
            serde_json::json!({"url": "http://x", "n": 1, "f": 0.5, "on": true, "list": [1, "a"], "deep": {"when": "2026-11-21"}}),
        )]
        .into(),
        backend: [(
            "tts-x".to_owned(),
            Backend {
                max_concurrent: Some(3),
                id_header: Some("X-Id".into()),
                cancel_url: Some("https://x/c/{id}".into()),
            },
        )]
        .into(),
        speech: Speech {
            backend: "tts-x".into(),
            voice: "Ada (fast)".into(),
            language: "en-GB".into(),
            rate: 2.0,
            pitch: 0.5,
            gain_db: -3.0,
        },
        output: Output { gain_db: 24.0 },
        limits: Limits {
            text_bytes: 1024,
            utterances: 1,
            sessions: 2,
        },
        synthesis: Synthesis { look_ahead_ms: 500 },
        cancel: Cancel {
            tombstone_ms: 3000,
            fade_ms: 0,
            reply_ms: 50,
        },
        barge_in: BargeIn {
            false_interruption_ms: 1500,
        },
        collect: Collect {
            ttl_ms: 1000,
            max_bytes: 2048,
            max_chunks: 7,
        },
        stream: Stream { idle_ms: 100 },
        log: Log {
            level: Level::Trace,
            format: LogFormat::Journal,
        },
        metrics: Metrics { tx_metrics_s: 0 },
    };
    assert_eq!(settings, expected);
}

#[test]
fn an_unknown_key_is_named_with_file_and_line_and_its_nearest_neighbour() {
    let world = World::new();
    world.write("etc/utterd.toml", "[jack]\nports = 2\nclient_name = \"x\"\n");
    assert_eq!(
        world.errors(),
        ["etc/utterd.toml:3: unknown key jack.client_name; did you mean jack.client-name?"]
    );
}

#[test]
fn a_key_in_the_wrong_table_is_sent_to_the_right_one() {
    assert_eq!(
        errors("[audio]\nclient-name = \"x\"\n"),
        ["x.toml:2: unknown key audio.client-name; did you mean jack.client-name?"]
    );
    assert_eq!(
        errors("client-name = \"x\"\n"),
        ["x.toml:1: unknown key client-name; did you mean jack.client-name?"]
    );
}

#[test]
fn an_unknown_table_is_one_error() {
    assert_eq!(
        errors("\n[jak]\nports = 2\nconnect = []\n"),
        ["x.toml:2: unknown key jak; did you mean jack?"]
    );
    assert_eq!(
        errors("[telepathy]\nx = 1\n"),
        ["x.toml:1: unknown key telepathy; the shipped utterd.toml lists all keys"]
    );
    assert_eq!(
        errors("\"a b\".\"c\\n\" = 1\n"),
        ["x.toml:1: unknown key \"a b\"; the shipped utterd.toml lists all keys"]
    );
}

#[test]
fn a_wrong_type_says_what_is_allowed() {
    assert_eq!(
        errors("[jack]\nports = \"two\"\n"),
        ["x.toml:2: jack.ports is a string; allowed: a whole number from 1 to 64"]
    );
    assert_eq!(
        errors("timer.rate = 48e3"),
        ["x.toml:1: timer.rate is a number with a fraction; allowed: a whole number from 8000 to 192000"]
    );
    assert_eq!(
        errors("output.gain-db = true"),
        ["x.toml:1: output.gain-db is true or false; allowed: a number from -120.0 to 24.0"]
    );
    assert_eq!(errors("jack = 3"), ["x.toml:1: jack is a whole number; allowed: a table, [jack]"]);
    assert_eq!(
        errors("[[jack]]\nports = 2"),
        ["x.toml:1: jack is a list; allowed: a table, [jack]"]
    );
    assert_eq!(
        errors("audio.driver = 1"),
        ["x.toml:1: audio.driver is a whole number; allowed: \"auto\" | \"jack\" | \"timer\""]
    );
    assert_eq!(
        errors("plugins.dirs = \"/a\""),
        ["x.toml:1: plugins.dirs is a string; allowed: a list of absolute paths"]
    );
    assert_eq!(
        errors("plugins.dirs = [\n\"/a\",\n3]"),
        ["x.toml:3: plugins.dirs is a list with a number in it; allowed: a list of absolute paths"]
    );
    assert_eq!(
        errors("backend = 1"),
        ["x.toml:1: backend is a whole number; allowed: tables, one for each id: [backend.ID]"]
    );
    assert_eq!(
        errors("backend.x = 1"),
        ["x.toml:1: backend.x is a whole number; allowed: a table, [backend.x]"]
    );
    assert_eq!(
        errors("plugin.x = 1"),
        ["x.toml:1: plugin.x is a whole number; allowed: a table, [plugin.x]"]
    );
}

#[test]
fn out_of_range_says_the_range() {
    assert_eq!(
        errors("jack.ports = 0"),
        ["x.toml:1: jack.ports = 0 is not allowed; allowed: a whole number from 1 to 64"]
    );
    assert_eq!(
        errors("jack.ports = -1"),
        ["x.toml:1: jack.ports = -1 is not allowed; allowed: a whole number from 1 to 64"]
    );
    assert_eq!(
        errors("cancel.fade-ms = 51"),
        ["x.toml:1: cancel.fade-ms = 51 is not allowed; allowed: a whole number from 0 to 50"]
    );
    assert_eq!(
        errors("speech.rate = nan"),
        ["x.toml:1: speech.rate = NaN is not allowed; allowed: a number from 0.1 to 10.0"]
    );
    assert_eq!(
        errors("output.gain-db = inf"),
        ["x.toml:1: output.gain-db = inf is not allowed; allowed: a number from -120.0 to 24.0"]
    );
    assert_eq!(
        errors("limits.sessions = 4294967297"),
        ["x.toml:1: limits.sessions = 4294967297 is not allowed; allowed: a whole number from 1 to 65536"]
    );
}

#[test]
fn wrong_words_and_shapes_are_refused() {
    for (wrong, told) in [
        (
            "audio.driver = \"pipewire\"",
            "audio.driver = \"pipewire\" is not allowed; allowed: \"auto\" | \"jack\" | \"timer\"",
        ),
        (
            "log.level = \"INFO\"",
            "log.level = \"INFO\" is not allowed; allowed: \"error\" | \"warn\" | \"info\" | \"debug\" | \"trace\"",
        ),
        (
            "jack.client-name = \"a:b\"",
            "jack.client-name = \"a:b\" is not allowed; allowed: 1 to 63 printable characters without a colon",
        ),
        (
            "jack.connect = [\"playback\"]",
            "jack.connect = [\"playback\"] is not allowed; allowed: a list of JACK port names, \"client:port\"",
        ),
        (
            "plugins.dirs = [\"plugins\"]",
            "plugins.dirs = [\"plugins\"] is not allowed; allowed: a list of absolute paths",
        ),
        (
            "backend.x.cancel-url = \"http://h/cancel\"",
            "backend.x.cancel-url = \"http://h/cancel\" is not allowed; allowed: an http:// or https:// URL that contains {id}",
        ),
        (
            "backend.x.id-header = \"X: y\"",
            "backend.x.id-header = \"X: y\" is not allowed; allowed: an HTTP header's name, of letters, digits and dashes",
        ),
        (
            "speech.language = \"en_GB\"",
            "speech.language = \"en_GB\" is not allowed; allowed: a language tag such as \"en-GB\", or empty",
        ),
        (
            "plugin.x.f = inf",
            "plugin.x = inf is not allowed; allowed: numbers that JSON knows, so neither nan nor inf",
        ),
    ] {
        assert_eq!(errors(wrong), [format!("x.toml:1: {told}")]);
    }
}

#[test]
fn an_id_may_be_quoted_but_not_anything() {
    assert!(text("[plugin.\"com.acme.tts\"]\nx = 1\n[backend.\"com.acme.tts\"]\nmax-concurrent = 1").is_ok());
    assert_eq!(
        errors("[backend.\"a/b\"]\nmax-concurrent = 1"),
        ["x.toml:1: backend = { \"a/b\" … } is not allowed; allowed: ids of 1 to 64 letters, digits, dots, dashes and underscores"]
    );
    assert_eq!(
        errors("[backend.x]\nmax = 1"),
        ["x.toml:2: unknown key backend.x.max; the shipped utterd.toml lists all keys"]
    );
    assert_eq!(
        errors("[backend.x]\nmax-concurent = 1"),
        ["x.toml:2: unknown key backend.x.max-concurent; did you mean backend.x.max-concurrent?"]
    );
}

#[test]
fn empty_tables_are_fine() {
    assert_eq!(text("[backend]\n[plugin]\n[jack]\n").unwrap(), Settings::default());
    assert_eq!(text("[plugin.x]").unwrap().plugin["x"], serde_json::json!({}));
    assert_eq!(text("[backend.x]").unwrap().backend["x"], Backend::default());
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once() {
    let world = World::new();
    world.write("etc/utterd.toml", "[jack]\nports = 0\nfoo = 1\n[log]\nlevel = 3\n");
    world.write("run/utterd.toml.d/50.toml", "[timer]\nrate = 1\n");
    world.write("run/utterd.toml.d/60.toml", "[timer]\nrate = \nperiod-frames = = 3\n");
    let errors = world.errors();
    let places: Vec<_> = errors.iter().map(|error| error.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "etc/utterd.toml:2",
            "etc/utterd.toml:3",
            "etc/utterd.toml:5",
            "run/utterd.toml.d/50.toml:2",
            "run/utterd.toml.d/60.toml:2",
            "run/utterd.toml.d/60.toml:3"
        ],
        "{errors:#?}"
    );
}

#[test]
fn a_mistake_is_told_although_a_later_file_hides_it() {
    let world = World::new();
    world.write("etc/utterd.toml", "jack.ports = 0\n");
    world.write("etc/utterd.toml.d/a.toml", "jack.ports = 2\n");
    assert_eq!(
        world.errors(),
        ["etc/utterd.toml:1: jack.ports = 0 is not allowed; allowed: a whole number from 1 to 64"]
    );
}

#[test]
fn drop_ins_apply_by_name_and_later_folders_replace_earlier_ones() {
    let world = World::new();
    world.write(
        "etc/utterd.toml",
        "limits.sessions = 1\nlimits.utterances = 1\njack.ports = 1\ncancel.fade-ms = 1\n",
    );
    world.write("lib/utterd.toml.d/90-z.toml", "limits.sessions = 90\n");
    world.write("etc/utterd.toml.d/50-m.toml", "limits.sessions = 50\nlimits.utterances = 50\n");
    world.write(
        "run/utterd.toml.d/10-a.toml",
        "limits.sessions = 10\nlimits.utterances = 10\njack.ports = 10\n",
    );
    // The same name in /usr/lib and /run: the one in /run replaces the whole file.
    world.write("lib/utterd.toml.d/50-x.toml", "cancel.fade-ms = 50\n");
    world.write("run/utterd.toml.d/50-x.toml", "");
    let settings = world.load().unwrap();
    assert_eq!(settings.limits.sessions, 90);
    assert_eq!(settings.limits.utterances, 50);
    assert_eq!(settings.jack.ports, 10);
    assert_eq!(settings.cancel.fade_ms, 1);
}

#[test]
fn a_link_to_dev_null_switches_a_drop_in_off() {
    let world = World::new();
    world.write("lib/utterd.toml.d/a.toml", "jack.ports = 9\n");
    fs::create_dir_all(world.root.path().join("etc/utterd.toml.d")).unwrap();
    std::os::unix::fs::symlink("/dev/null", world.root.path().join("etc/utterd.toml.d/a.toml")).unwrap();
    assert_eq!(world.load().unwrap(), Settings::default());
}

#[test]
fn other_files_beside_drop_ins_are_left_alone() {
    let world = World::new();
    for name in [".a.toml", "a.toml~", "a.toml.dpkg-old", "README"] {
        world.write(&format!("etc/utterd.toml.d/{name}"), "rubbish");
    }
    assert_eq!(world.load().unwrap(), Settings::default());
}

#[test]
fn the_users_files_come_last_and_only_for_a_user() {
    let mut world = World::new();
    world.write("run/utterd.toml.d/z.toml", "jack.ports = 3\ntimer.rate = 16000\n");
    world.write("home/utterd.toml", "jack.ports = 4\n");
    world.write("home/utterd.toml.d/a.toml", "timer.rate = 8000\n");
    assert_eq!(world.load().unwrap().jack.ports, 3);
    world.source.scope = Scope::User;
    let settings = world.load().unwrap();
    assert_eq!((settings.jack.ports, settings.timer.rate), (4, 8000));
    assert_eq!(settings.plugins.dirs[0], world.root.path().join("home/plugins"));
    assert_eq!(settings.plugins.dirs[1..], Settings::default().plugins.dirs);
}

#[test]
fn tables_grow_together_and_lists_are_replaced() {
    let world = World::new();
    world.write(
        "etc/utterd.toml",
        "[plugin.x]\na = 1\nlist = [1, 2]\n[plugin.x.deep]\na = 1\n[plugins]\ndisabled = [\"a\", \"b\"]\n",
    );
    world.write(
        "etc/utterd.toml.d/a.toml",
        "[plugin.x]\nb = 2\nlist = [3]\n[plugin.x.deep]\nb = 2\n[plugins]\ndisabled = [\"c\"]\n",
    );
    let settings = world.load().unwrap();
    assert_eq!(
        settings.plugin["x"],
        serde_json::json!({"a": 1, "b": 2, "list": [3], "deep": {"a": 1, "b": 2}})
    );
    assert_eq!(settings.plugins.disabled, ["c"]);
}

#[test]
fn a_named_file_replaces_all_others_and_brings_its_own_drop_ins() {
    let mut world = World::new();
    world.write("etc/utterd.toml", "jack.ports = 3\n");
    world.write("etc/utterd.toml.d/a.toml", "timer.rate = 8000\n");
    let named = world.write("mine.toml", "limits.sessions = 5\n");
    let drop_in = world.write("mine.toml.d/a.toml", "limits.utterances = 6\n");
    world.source = world.source.with_file(&named);
    let settings = world.load().unwrap();
    let expected = Settings {
        limits: Limits {
            sessions: 5,
            utterances: 6,
            ..Limits::default()
        },
        ..Settings::default()
    };
    assert_eq!(settings, expected);
    assert_eq!(files(&world.source).unwrap(), [named, drop_in]);
}

#[test]
fn a_named_file_must_exist() {
    let mut world = World::new();
    world.source = world.source.clone().with_file(world.root.path().join("nowhere.toml"));
    assert_eq!(
        world.errors(),
        ["nowhere.toml: cannot be read: No such file or directory (os error 2)"]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_not_an_absent_one() {
    let world = World::new();
    fs::create_dir_all(world.root.path().join("etc")).unwrap();
    // A link to itself: not even root can read it, so this test means the same for every user.
    std::os::unix::fs::symlink("utterd.toml", world.root.path().join("etc/utterd.toml")).unwrap();
    let errors = world.errors();
    assert!(
        errors.len() == 1 && errors[0].starts_with("etc/utterd.toml: cannot be read: "),
        "{errors:?}"
    );
}

#[test]
fn a_directory_a_pipe_and_a_disk_image_are_refused_without_hanging() {
    let world = World::new();
    fs::create_dir_all(world.root.path().join("etc/utterd.toml")).unwrap();
    fs::create_dir_all(world.root.path().join("etc/utterd.toml.d")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(world.root.path().join("etc/utterd.toml.d/socket.toml")).unwrap();
    world.write("etc/utterd.toml.d/z.toml", vec![b'#'; (1 << 20) + 1]);
    let reason = "the configuration must be a regular file";
    assert_eq!(
        world.errors(),
        [
            format!("etc/utterd.toml: is a directory; {reason}"),
            format!("etc/utterd.toml.d/socket.toml: is a device, a pipe or a socket; {reason}"),
            "etc/utterd.toml.d/z.toml: is larger than 1 MiB, which is no configuration".to_owned(),
        ]
    );
    drop(listener);
}

#[test]
fn broken_utf8_is_named_with_its_line() {
    let world = World::new();
    world.write("etc/utterd.toml", b"[jack]\nclient-name = \"\xff\"\n");
    assert_eq!(world.errors(), ["etc/utterd.toml:2: is not UTF-8 here; save the file as UTF-8"]);
}

#[test]
fn broken_toml_is_named_with_its_line() {
    for (wrong, line) in [
        ("[jack]\nports = \n", 2),
        ("[jack\n", 1),
        ("a = 1\na = 2\n", 2),
        ("x = \"\n", 1),
        ("\0", 1),
        ("x = 99999999999999999999", 1),
    ] {
        let errors = errors(wrong);
        assert!(
            errors[0].starts_with(&format!("x.toml:{line}: is not TOML: ")) && !errors[0].contains('\n'),
            "{wrong:?}: {errors:?}"
        );
    }
}

#[test]
fn every_example_in_the_documents_is_right() {
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut documents: Vec<_> = fs::read_dir(house).unwrap().map(|entry| entry.unwrap().path()).collect();
    for plugin in fs::read_dir(house.join("plugins")).unwrap() {
        documents.push(plugin.unwrap().path().join("README.md"));
    }
    documents.push(house.join("systemd/README.md"));
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md") && path.is_file());
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for (line, block) in toml_blocks(&text) {
            if let Err(errors) = load_text(&document, &block, &Source::system()) {
                panic!("the example at line {line} of {}:\n{errors}", document.display());
            }
        }
    }
}

/// Blocks marked exactly ```toml are examples of utterd.toml; other TOML (a Cargo.toml) is marked otherwise. Empty lines stand for the text
/// before a block, so that errors name the document's own lines.
fn toml_blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (n, line) in text.lines().enumerate() {
        match &mut open {
            None if line.trim() == "```toml" => open = Some((n + 1, "\n".repeat(n + 1))),
            None => {}
            Some(_) if line.trim() == "```" => blocks.extend(open.take()),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a ```toml block is not closed");
    blocks
}

#[test]
fn toml_blocks_are_found_with_their_lines() {
    let found = toml_blocks("text\n```toml\njack.ports = 0\n```\n```sh\nls\n```\n");
    assert_eq!(found, [(2, "\n\njack.ports = 0\n".to_owned())]);
}
