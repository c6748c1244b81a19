//! Keys, types, ranges, shapes: one text in, settings or errors out.

use super::*;

#[test]
fn every_key_reaches_its_setting() {
    let settings = text(
        r#"
        audio.driver = "timer"
        jack = { client-name = "mouth", connect = ["system:playback_1", "a b:c:d"], ports = 64 }
        timer = { rate = 8_000, period-frames = 0x10 }
        plugins = { dirs = ["/a"], disabled = ["tts-tone"], inproc = ["mine"] }
        plugin.tts-x = { url = "http://x", n = 1, f = 0.5, on = true, list = [1, "a"], deep = { when = 2026-11-21 } }
        backend.tts-x = { max-concurrent = 3, id-header = "X-Id", cancel-url = "https://x/c/{id}", first-audio-timeout-ms = 1, stall-timeout-ms = 2, back-off-ms = 3, back-off-max-ms = 4 }
        sounds.dirs = ["/s"]
        speech = { backend = "tts-x", voice = "Ada (fast)", language = "en-GB", rate = 2, pitch = 0.5, gain-db = -3.0, progress = "word", fallback = ["tts-y"] }
        cache = { bytes = 9, max-chars = 8 }
        pin.hello = { text = "Hello.", voice = "Ada" }
        session.private = true
        output.gain-db = 24
        limits = { text-bytes = 1024, utterances = 1, sessions = 2 }
        synthesis.look-ahead-ms = 500
        cancel = { tombstone-ms = 3000, fade-ms = 0, reply-ms = 50 }
        barge-in = { local = "report-only", detector = "none", backchannel = "resume", false-interruption-ms = 1500, min-speech-ms = 1, warm-up-ms = 2, sensitivity = 1 }
        collect = { ttl-ms = 1000, max-bytes = 2048, max-chunks = 7 }
        stream.idle-ms = 100
        recording = { dir = "/srv/calls", mode = 0o640, keep-mb = 5, keep-days = 0 }
        log = { level = "trace", format = "journal" }
        metrics.tx-metrics-s = 0
        "#,
    )
    .unwrap();
    let keys: Vec<_> = settings.plugin_places["tts-x"].keys().cloned().collect();
    assert_eq!(keys, ["deep", "f", "list", "n", "on", "url"]);
    let expected = Settings {
        plugin_places: settings.plugin_places.clone(),
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
            inproc: vec!["mine".into()],
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
                first_audio_timeout_ms: Some(1),
                stall_timeout_ms: Some(2),
                back_off_ms: Some(3),
                back_off_max_ms: Some(4),
            },
        )]
        .into(),
        lexicon: Lexicon::default(),
        sounds: Sounds { dirs: vec!["/s".into()] },
        cache: Cache {
            bytes: 9,
            max_chars: 8,
            pin: vec![Pin {
                text: "Hello.".into(),
                voice: "Ada".into(),
                ..Pin::default()
            }],
        },
        speech: Speech {
            backend: "tts-x".into(),
            fallback: vec!["tts-y".into()],
            voice: "Ada (fast)".into(),
            language: "en-GB".into(),
            rate: 2.0,
            pitch: 0.5,
            gain_db: -3.0,
            progress: Progress::Word,
        },
        session: Session { private: true },
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
            local: BargeInPolicy::ReportOnly,
            detector: "none".into(),
            backchannel: Backchannel::Resume,
            false_interruption_ms: 1500,
            min_speech_ms: 1,
            warm_up_ms: 2,
            sensitivity: 1.0,
        },
        collect: Collect {
            ttl_ms: 1000,
            max_bytes: 2048,
            max_chunks: 7,
        },
        stream: Stream { idle_ms: 100 },
        recording: Recording {
            dir: "/srv/calls".into(),
            mode: 0o640,
            keep_mb: 5,
            keep_days: 0,
        },
        log: Log {
            level: Level::Trace,
            format: LogFormat::Journal,
        },
        metrics: Metrics { tx_metrics_s: 0 },
    };
    assert_eq!(settings, expected);
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
            "pin.x.voice = \"Ada\"",
            "pin.x.text is missing; allowed: 1 to 4096 bytes, not blank",
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
