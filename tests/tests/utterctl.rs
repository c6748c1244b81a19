//! utterctl against a daemon: what a person or a hook sees, and the exit codes they rely on.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{ChildStdin, Command, Stdio};

use rustix::process::Signal;
use utterd_tests::bins;
use utterd_tests::clock::{PATIENCE, until};
use utterd_tests::opts;
use utterd_tests::process::Process;
use utterd_tests::tempdir::TempDir;
use utterd_tests::world::Quiet;

fn utterctl(quiet: &Quiet, args: &[&str]) -> Command {
    let mut command = Command::new(bins::utterctl());
    command.args(["--bus-address", quiet.bus.address()]).args(args);
    command.stdin(Stdio::null()).env("NO_COLOR", "1").env("TERM", "dumb");
    command
}

/// Its exit code, standard output and standard error.
fn run(quiet: &Quiet, args: &[&str]) -> (i32, String, String) {
    let output = utterctl(quiet, args).output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// `utterctl say - …` whose input we write.
struct Talk {
    process: Process,
    input: Option<ChildStdin>,
    dir: TempDir,
}

impl Talk {
    fn start(quiet: &Quiet, args: &[&str]) -> Talk {
        let dir = TempDir::new("talk");
        let mut command = utterctl(quiet, &["say", "-", "--backend", "tts-tone", "--voice", "tone"]);
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(dir.join("out")).unwrap())
            .stderr(std::fs::File::create(dir.join("err")).unwrap());
        let mut process = Process::spawn("utterctl", &mut command);
        let input = process.child().stdin.take();
        Talk { process, input, dir }
    }

    fn write(&mut self, text: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).unwrap();
    }

    fn said(&self, file: &str) -> String {
        std::fs::read_to_string(self.dir.join(file)).unwrap()
    }

    /// Closes its input and waits for its end.
    fn end(&mut self) -> i32 {
        drop(self.input.take());
        let status = self.process.wait_exit(PATIENCE);
        status.unwrap_or_else(|| panic!("no end: {}", self.said("err"))).code().unwrap()
    }
}

#[test]
fn say_dash_speaks_while_its_input_still_flows() {
    let quiet = Quiet::start();
    let mut talk = Talk::start(&quiet, &[]);
    talk.write("These words are heard, ");
    talk.write("before these are written.\n");
    quiet.client.expect_event("UtteranceStarted", |e| e.member == "UtteranceStarted");
    until(PATIENCE, || talk.said("out").contains("words").then_some(())).unwrap();
    talk.write("Grüße");
    assert_eq!(talk.end(), 0, "{}", talk.said("err"));
    assert_eq!(talk.said("out"), "These words are heard, before these are written. Grüße\n");
    let finished = quiet.client.expect_event("UtteranceFinished", |e| e.member == "UtteranceFinished");
    assert_eq!(
        finished.dict(2).text("heard-text"),
        "These words are heard, before these are written.\nGrüße"
    );
    quiet
        .client
        .expect_event("its session closed with it", |e| e.member == "InterfacesRemoved");
}

#[test]
fn a_stream_that_nobody_fed_is_followed_by_another_and_ctrl_c_ends_what_is_heard() {
    let quiet = Quiet::with(&utterd_tests::daemon::Plan {
        driver: "timer",
        config: "[stream]\nidle-ms = 300\n".into(),
        ..Default::default()
    });
    let mut talk = Talk::start(&quiet, &["--json"]);
    talk.write("first");
    quiet.client.expect_event("the first end", |e| e.member == "UtteranceFinished");
    talk.write("second, and after it a long story that nobody wants to hear to its very end");
    let second = quiet
        .client
        .expect_event("a second one", |e| e.member == "UtteranceStarted" && e.number(0) == 2);
    assert!(second.number(0) == 2);
    talk.process.signal(Signal::INT);
    let code = talk.process.wait_exit(PATIENCE).unwrap().code();
    assert_eq!(code, Some(3), "{}", talk.said("err"));
    let told: serde_json::Value = serde_json::from_str(&talk.said("out")).unwrap();
    assert_eq!((&told["utterance"], &told["outcome"]), (&2.into(), &"cancelled".into()));
}

#[test]
fn what_say_dash_cannot_speak_is_an_error_and_nothing_stays_open() {
    let quiet = Quiet::start();
    let mut nothing = Talk::start(&quiet, &[]);
    nothing.write(" \n");
    assert_eq!(nothing.end(), 1);
    assert!(nothing.said("err").contains("empty"), "{}", nothing.said("err"));
    let mut junk = Talk::start(&quiet, &[]);
    junk.write("Good until here.\n");
    quiet.client.expect_event("it speaks", |e| e.member == "UtteranceStarted");
    junk.input.as_mut().unwrap().write_all(b"\xff\xfe").unwrap();
    assert_eq!(junk.end(), 1);
    assert!(junk.said("err").contains("not UTF-8 from byte 17"), "{}", junk.said("err"));
    let mut voice = Talk::start(&quiet, &["--voice", "nobody"]);
    voice.write("word ");
    assert_eq!(voice.end(), 2, "given twice");
    let mut stale = Talk::start(&quiet, &["--session", "s"]);
    stale.write("Opens it.\n");
    assert_eq!(stale.end(), 0);
    quiet
        .client
        .say("s", "Moves on.", opts! { "turn" => 9u64, "backend" => "tts-tone" })
        .unwrap();
    let mut stale = Talk::start(&quiet, &["--session", "s", "--turn", "3"]);
    stale.write("Too late.\n");
    assert_eq!(stale.end(), 3);
    assert!(stale.said("err").contains("not spoken"), "{}", stale.said("err"));
}

#[test]
fn more_than_one_utterance_may_hold_is_spoken_in_several() {
    let quiet = Quiet::with(&utterd_tests::daemon::Plan {
        driver: "timer",
        config: "[limits]\ntext-bytes = 1024\n".into(),
        ..Default::default()
    });
    let mut talk = Talk::start(&quiet, &["--rate", "10", "--quiet"]);
    talk.write(&"0123456789\n".repeat(230));
    assert_eq!(talk.end(), 0, "{}", talk.said("err"));
    let ends: Vec<_> = quiet
        .client
        .events()
        .into_iter()
        .filter(|e| e.member == "UtteranceFinished")
        .collect();
    let heard: String = ends.iter().map(|e| e.dict(2).text("heard-text").to_owned()).collect();
    assert!(ends.len() == 3 && heard.len() == 2_530, "{} {}", ends.len(), heard.len());
}

#[test]
fn a_full_device_is_an_error_and_a_closed_pipe_is_not() {
    let quiet = Quiet::start();
    let say = ["say", "One two three.", "--backend", "tts-tone"];
    for args in [&say[..], &["sessions"], &["status"], &["--json", "status"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = utterctl(&quiet, args);
        command.stdout(full).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(
            error.contains("cannot write to standard output: No space left"),
            "{args:?}: {error}"
        );
    }
    let mut command = utterctl(&quiet, &["monitor"]);
    let mut monitor = Process::spawn("utterctl", command.stdout(Stdio::piped()));
    drop(monitor.child().stdout.take());
    let session = quiet.tone_session("a");
    let ended = until(PATIENCE, || {
        session.say("x", opts! {});
        monitor.exited()
    });
    assert_eq!(ended.unwrap().code(), Some(0));
}

#[test]
fn what_was_asked_wrongly_is_told_by_its_name() {
    let quiet = Quiet::start();
    let (code, _, error) = run(&quiet, &["volume", "2000%"]);
    assert_eq!(code, 2);
    assert!(error.contains("2000% is +26.0 dB") && error.contains("1584%"), "{error}");
    for args in [
        &["mute", "-s", "nope"][..],
        &["volume", "50%", "-s", "nope"],
        &["pause", "-s", "nope"],
        &["history", "-s", "nope"],
    ] {
        let (code, _, error) = run(&quiet, args);
        assert_eq!(code, 1, "{args:?}: {error}");
        assert!(
            error.contains("\"nope\"") && error.contains("utterctl sessions"),
            "{args:?}: {error}"
        );
    }
    let (code, out, error) = run(&quiet, &["volume", "-30dB"]);
    assert_eq!((code, out.as_str()), (0, "3% (-30.0 dB)\n"), "{error}");
}

#[test]
fn status_tells_who_is_paused_from_who_speaks() {
    let quiet = Quiet::start();
    let a = quiet.tone_session("a");
    let long = "one two three four five six seven eight nine ten eleven twelve";
    let id = a.say(long, opts! {});
    quiet.client.expect_started(id);
    assert!(run(&quiet, &["status"]).1.contains("speaking: a"));
    a.pause(opts! {});
    let (_, out, _) = run(&quiet, &["status"]);
    assert!(
        out.contains("nobody speaks") && out.lines().any(|l| l.starts_with("paused") && l.ends_with(" a")),
        "{out}"
    );
    let json: serde_json::Value = serde_json::from_str(&run(&quiet, &["--json", "status"]).1).unwrap();
    assert_eq!(
        (&json["paused"], &json["speaking"]),
        (&serde_json::json!(["a"]), &serde_json::json!([]))
    );
}
