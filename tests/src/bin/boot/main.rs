//! Boots a real Debian with a real systemd, installs this build into it as `make install` does, and proves that the service is one: start,
//! readiness, activation, who may call, crashes, reloads, the journal, real time, JACK, the watchdog. Prints each proof; exits 1 if one fails.
//!
//! Needs root, mmdebstrap and systemd-nspawn; the system's root folder is made once, in target/boot. Nothing here is skipped.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod machine;

use machine::{BUS, Machine, Proof, check, eventually, text};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

/// More than twice what the unit's WatchdogSec= allows.
const LONGER_THAN_THE_WATCHDOG: Duration = Duration::from_secs(25);
type Prove = fn(&Machine) -> Proof;

fn main() -> ExitCode {
    let begun = Instant::now();
    let machine = match Machine::boot() {
        Ok(machine) => machine,
        Err(why) => {
            eprintln!("boot-test cannot run: {why}");
            return ExitCode::FAILURE;
        }
    };
    println!(
        "up after {:.1} s: {}",
        begun.elapsed().as_secs_f64(),
        machine.says(&["uname", "-sr"])
    );
    let proofs: &[(&str, Prove)] = &[
        ("no unit failed at boot, user and folders are made", boots_clean),
        ("the first call starts the service", activation),
        ("it runs as its user and is ready before it is called started", runs_as_promised),
        ("without a JACK server the timer speaks, for root", root_speaks),
        ("real time without root: locked memory, a FIFO thread", real_time),
        ("a member of the group utterd speaks, with busctl and with utterctl", member_speaks),
        ("nobody may look but not speak", nobody_is_refused),
        ("nobody hears no signals, a member does", signals_stay_in_the_group),
        ("kill -9: another one serves", killed),
        ("reload: a good configuration is taken, a bad one is not", reloads),
        ("the journal has priorities, not prefixes", journal),
        ("left alone for longer than the watchdog's time it lives", idle),
        ("with jackd of the same user it plays through JACK", plays_through_jack),
        (
            "a jackd stopped for longer than the watchdog's time costs no restart",
            stopped_jackd,
        ),
        ("a daemon that hangs is ended by the watchdog and started again", hangs),
        ("stop is clean, a call brings it back", stops),
        ("hardening is what systemd calls good", hardened),
        ("installed below /usr/local on a running machine it is there at once", installs_live),
    ];
    let mut failed = 0;
    for (what, prove) in proofs {
        let since = Instant::now();
        let result = prove(&machine);
        let took = since.elapsed().as_secs_f64();
        match result {
            Ok(seen) => println!("ok      {what} ({took:.1} s)\n          {seen}"),
            Err(why) => {
                failed += 1;
                println!("FAILED  {what} ({took:.1} s)\n          {}", why.replace('\n', "\n          "));
            }
        }
    }
    if failed > 0 {
        println!("---- the journal ----\n{}", machine.journal());
        println!("{failed} of {} proofs failed", proofs.len());
        return ExitCode::FAILURE;
    }
    println!("{} proofs, {:.0} s", proofs.len(), begun.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn boots_clean(m: &Machine) -> Proof {
    let state = m.says(&["systemctl", "is-system-running", "--wait"]);
    check(
        state == "running",
        "the system is running",
        &m.says(&["systemctl", "--failed", "--no-pager"]),
    )?;
    m.ok(&["id", "utterd"])?;
    m.ok(&["test", "-d", "/run/utterd/utterd.toml.d"])?;
    // For the proofs: a member of the group.
    m.ok(&["useradd", "--create-home", "--groups", "utterd", "kiosk"])?;
    Ok(m.says(&["id", "utterd"]))
}

fn activation(m: &Machine) -> Proof {
    check(
        m.show("utterd", "ActiveState") == "inactive",
        "it is not running yet",
        &m.show("utterd", "ActiveState"),
    )?;
    let begun = Instant::now();
    let answer = m.call("root", &["ListVoices", "a{sv}", "1", "id", "s", "tone"])?;
    check(answer.contains("tone"), "a call was answered", &answer)?;
    Ok(format!("answered {:.0} ms after the call", begun.elapsed().as_secs_f64() * 1e3))
}

fn runs_as_promised(m: &Machine) -> Proof {
    let seen: Vec<String> = ["Type", "ActiveState", "SubState", "StatusText", "WatchdogUSec"]
        .iter()
        .map(|p| m.show("utterd", p))
        .collect();
    let seen = seen.join(" ");
    check(seen == "notify active running running 10s", &seen, &seen)?;
    let user = m.says(&["ps", "-o", "user=", "-p", &m.show("utterd", "MainPID")]);
    check(user == "utterd", "it runs as utterd", &user)?;
    Ok(seen)
}

fn root_speaks(m: &Machine) -> Proof {
    let driver = m.property("Driver");
    check(driver == "s \"timer\"", "the driver is the timer", &driver)?;
    m.speak("root", "Root says hello.")
}

fn real_time(m: &Machine) -> Proof {
    let pid = m.show("utterd", "MainPID");
    let threads = m.says(&["ps", "-L", "-o", "cls=,rtprio=,comm=", "-p", &pid]);
    let fifo: Vec<&str> = threads.lines().filter(|l| l.trim_start().starts_with("FF")).collect();
    check(!fifo.is_empty(), "a thread is SCHED_FIFO", &threads)?;
    let status = m.says(&["cat", &format!("/proc/{pid}/status")]);
    let value = |key: &str| status.lines().find(|l| l.starts_with(key)).unwrap_or_default().replace('\t', " ");
    check(
        value("CapEff") == "CapEff: 0000000000804000",
        "two capabilities and no more",
        &value("CapEff"),
    )?;
    check(!value("VmLck").ends_with(" 0 kB"), "its memory is locked", &value("VmLck"))?;
    Ok(format!("{}; {}; {}", fifo.join(", ").trim(), value("CapEff"), value("VmLck")))
}

fn member_speaks(m: &Machine) -> Proof {
    let busctl = m.speak("kiosk", "A member of the group says hello.")?;
    let group = m.says(&["id", "-g", "kiosk"]);
    let utterctl = [
        "setpriv",
        "--reuid",
        "kiosk",
        "--regid",
        &group,
        "--init-groups",
        "utterctl",
        "say",
        "And again.",
    ];
    m.ok(&utterctl)?;
    Ok(busctl)
}

fn nobody_is_refused(m: &Machine) -> Proof {
    for call in [
        ["Say", "ssa{sv}", "default", "May I?", "0"].as_slice(),
        &["Cancel", "sa{sv}", "default", "0"],
        &["OpenSession", "sa{sv}", "mine", "0"],
        &["Reload"],
    ] {
        let answer = m.call("nobody", call);
        check(
            answer.as_ref().is_err_and(|e| e.contains("Access denied")),
            &format!("{} is refused", call[0]),
            &format!("{answer:?}"),
        )?;
    }
    let look = [
        "setpriv",
        "--reuid",
        "nobody",
        "--regid",
        "nogroup",
        "--clear-groups",
        "busctl",
        "introspect",
        BUS[0],
        BUS[1],
    ];
    let seen = m.ok(&look)?;
    check(
        seen.contains("OpenSession"),
        "but may look; Say, Cancel, OpenSession, Reload: Access denied",
        &seen,
    )
}

fn signals_stay_in_the_group(m: &Machine) -> Proof {
    let mut watchers = Vec::new();
    for user in ["nobody", "kiosk"] {
        let group = m.says(&["id", "-g", user]);
        let rule = "type='signal',sender='org.utterd.Utterd1'";
        // Not a monitor (that is root's): a plain connection with a match, which is what dbus-monitor falls back to.
        let watch = [
            "setpriv",
            "--reuid",
            user,
            "--regid",
            &group,
            "--init-groups",
            "timeout",
            "6",
            "dbus-monitor",
            "--system",
            rule,
        ];
        let child = m.command(&watch).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        watchers.push((user, child.map_err(|e| e.to_string())?));
    }
    // They are there as soon as the bus has two more connections that are theirs.
    eventually("both to listen", || {
        let list = m.says(&["busctl", "list", "--no-pager", "--unique"]);
        list.matches("dbus-monitor").count() == 2
    })?;
    m.speak("root", "Who hears this?")?;
    let mut heard = Vec::new();
    for (user, child) in watchers {
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        heard.push((user, text(&output).matches("UtteranceFinished").count()));
    }
    check(
        heard[0].1 == 0 && heard[1].1 > 0,
        &format!("UtteranceFinished heard: {heard:?}"),
        &format!("{heard:?}"),
    )
}

/// The process is ended; another one answers, by itself and by a call.
fn killed(m: &Machine) -> Proof {
    let before = m.show("utterd", "MainPID");
    let begun = Instant::now();
    m.ok(&["systemctl", "kill", "--kill-who=main", "--signal=SIGKILL", "utterd"])?;
    eventually("the restart", || {
        let pid = m.show("utterd", "MainPID");
        pid != before && pid != "0" && m.show("utterd", "ActiveState") == "active"
    })?;
    let restarted = begun.elapsed();
    m.speak("kiosk", "Back again.")?;
    // And when somebody calls before the restart is due.
    let before = m.show("utterd", "MainPID");
    m.ok(&["systemctl", "kill", "--kill-who=main", "--signal=SIGKILL", "utterd"])?;
    eventually("its end", || m.show("utterd", "MainPID") != before)?;
    let begun = Instant::now();
    m.speak("kiosk", "Called back.")?;
    let (restarts, state) = (m.show("utterd", "NRestarts"), m.show("utterd", "ActiveState"));
    check(state == "active", "it is active", &state)?;
    Ok(format!(
        "active again {:.1} s after the kill; a call right after the second kill was spoken {:.1} s later (NRestarts {restarts})",
        restarted.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    ))
}

fn reloads(m: &Machine) -> Proof {
    let pid = m.show("utterd", "MainPID");
    let voice = || -> Proof {
        let id = m.call("root", &["Say", "ssa{sv}", "default", "x", "0"])?;
        let report = m.call("root", &["Wait", "sta{sv}", "default", id.trim_start_matches("t "), "0"])?;
        let voice = report.split("\"voice\" s ").nth(1).ok_or(format!("no voice in {report}"))?;
        Ok(voice.split(' ').next().unwrap_or_default().to_owned())
    };
    let dropin = "/run/utterd/utterd.toml.d/50-proof.toml";
    m.write(dropin, "[speech]\nbackend = \"tts-tone\"\nvoice = \"tone-id\"\n")?;
    m.ok(&["systemctl", "reload", "utterd"])?;
    eventually("the new voice", || voice().is_ok_and(|v| v == "\"tone-id\""))?;
    m.write(dropin, "[speech]\nvoice = 7\n")?;
    m.ok(&["systemctl", "reload", "utterd"])?;
    eventually("a word on the bad file in the journal", || m.journal().contains("50-proof.toml"))?;
    let kept = voice()?;
    check(kept == "\"tone-id\"", "the bad one changed nothing", &kept)?;
    m.ok(&["rm", dropin])?;
    m.ok(&["systemctl", "reload", "utterd"])?;
    eventually("the shipped settings", || voice().is_ok_and(|v| v != "\"tone-id\""))?;
    check(
        m.show("utterd", "MainPID") == pid,
        "three reloads, one process",
        &m.show("utterd", "MainPID"),
    )
}

fn journal(m: &Machine) -> Proof {
    let all = m.ok(&[
        "journalctl",
        "--no-pager",
        "-u",
        "utterd",
        "-o",
        "json",
        "--output-fields=MESSAGE,PRIORITY,_COMM",
    ])?;
    let mut counts = std::collections::BTreeMap::new();
    for line in all.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
        let of = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        if of("_COMM") != "utterd" {
            continue;
        }
        let message = of("MESSAGE");
        check(!message.starts_with('<') && !message.contains('\u{1b}'), "messages are plain", line)?;
        *counts.entry(of("PRIORITY")).or_insert(0) += 1;
        if message.contains("utterd starts") {
            check(of("PRIORITY") == "6", "a start is information", line)?;
        }
        if message.contains("50-proof.toml") {
            check(
                ["3", "4"].contains(&of("PRIORITY").as_str()),
                "a bad configuration is a warning or worse",
                line,
            )?;
        }
    }
    check(
        counts.contains_key("6") && counts.len() > 1,
        &format!("lines by priority: {counts:?}"),
        &format!("{counts:?}"),
    )
}

/// Nobody calls, nobody speaks: only the beat keeps it alive.
fn idle(m: &Machine) -> Proof {
    let before = (m.show("utterd", "MainPID"), m.show("utterd", "NRestarts"));
    std::thread::sleep(LONGER_THAN_THE_WATCHDOG);
    let now = (m.show("utterd", "MainPID"), m.show("utterd", "NRestarts"));
    check(now == before, "the same process", &format!("{before:?}, then {now:?}"))
}

fn plays_through_jack(m: &Machine) -> Proof {
    let mut jackd = vec!["systemd-run", "--quiet", "--unit=jackd", "-p", "User=utterd"];
    jackd.extend(["-p", "AmbientCapabilities=CAP_SYS_NICE CAP_IPC_LOCK", "-p", "LimitMEMLOCK=infinity"]);
    jackd.extend(["jackd", "-R", "-P", "70", "-d", "dummy", "-r", "48000", "-p", "256"]);
    m.ok(&jackd)?;
    let wait = [
        "setpriv",
        "--reuid",
        "utterd",
        "--regid",
        "utterd",
        "--clear-groups",
        "jack_wait",
        "-w",
        "-t",
        "20",
    ];
    m.ok(&wait)?;
    m.ok(&["systemctl", "restart", "utterd"])?;
    eventually("JACK as the driver", || {
        m.property("Driver") == "s \"jack\"" && m.property("DriverState") == "s \"running\""
    })?;
    let spoken = m.speak("kiosk", "Through the hands of JACK.")?;
    let pid = m.show("utterd", "MainPID");
    let threads = m.says(&["ps", "-L", "-o", "cls=,rtprio=,comm=", "-p", &pid]);
    let fifo: Vec<&str> = threads.lines().map(str::trim).filter(|l| l.starts_with("FF")).collect();
    check(!fifo.is_empty(), "JACK's thread in utterd is SCHED_FIFO", &threads)?;
    Ok(format!("{spoken}; {}", fifo.join(", ")))
}

fn stopped_jackd(m: &Machine) -> Proof {
    let (pid, restarts) = (m.show("utterd", "MainPID"), m.show("utterd", "NRestarts"));
    let begun = Instant::now();
    m.ok(&["systemctl", "kill", "--signal=SIGSTOP", "jackd"])?;
    // Words that wait for the server's return; the daemon answers all the while.
    let waiting = m.call("kiosk", &["Say", "ssa{sv}", "of-kiosk", "Worth waiting for.", "0"])?;
    let mut answers = 0;
    while begun.elapsed() < LONGER_THAN_THE_WATCHDOG {
        let state = m.property("DriverState");
        check(state.starts_with("s "), "it answers", &state)?;
        answers += 1;
        std::thread::sleep(Duration::from_millis(500));
    }
    let state = m.property("DriverState");
    m.ok(&["systemctl", "kill", "--signal=SIGCONT", "jackd"])?;
    let report = m.call("kiosk", &["Wait", "sta{sv}", "of-kiosk", waiting.trim_start_matches("t "), "0"])?;
    check(report.contains("\"completed\""), "the words were heard in the end", &report)?;
    let now = (m.show("utterd", "MainPID"), m.show("utterd", "NRestarts"));
    check(now == (pid, restarts), "the same process", &format!("{now:?}"))?;
    Ok(format!(
        "{answers} questions answered in {:.0} s without JACK (DriverState {state}); same process, and what waited was heard",
        LONGER_THAN_THE_WATCHDOG.as_secs_f64()
    ))
}

fn hangs(m: &Machine) -> Proof {
    let before = m.show("utterd", "MainPID");
    let begun = Instant::now();
    m.ok(&["kill", "-STOP", &before])?;
    eventually("the watchdog and a restart", || {
        let pid = m.show("utterd", "MainPID");
        pid != before && pid != "0" && m.show("utterd", "ActiveState") == "active"
    })?;
    let took = begun.elapsed().as_secs_f64();
    let told = m.says(&["journalctl", "--no-pager", "-u", "utterd", "-n", "100"]);
    check(told.contains("Watchdog timeout"), "it was the watchdog", &told)?;
    m.speak("kiosk", "Awake again.")?;
    Ok(format!("Watchdog timeout; active again {took:.1} s after it hung"))
}

fn stops(m: &Machine) -> Proof {
    let begun = Instant::now();
    m.ok(&["systemctl", "stop", "utterd"])?;
    let took = begun.elapsed();
    let result = m.show("utterd", "Result");
    check(result == "success", "the stop is clean", &result)?;
    m.speak("kiosk", "Started by a call.")?;
    Ok(format!("stopped in {:.1} s, result {result}", took.as_secs_f64()))
}

fn hardened(m: &Machine) -> Proof {
    let said = m.ok(&["systemd-analyze", "security", "--no-pager", "--threshold=40", "utterd.service"])?;
    Ok(said.lines().last().unwrap_or_default().trim().to_owned())
}

/// Nothing of us is left, then `systemd/install "" /usr/local` as root: user, policy, activation and units without a reboot.
fn installs_live(m: &Machine) -> Proof {
    m.ok(&["systemctl", "stop", "utterd", "jackd"])?;
    let remove = "rm -r /usr/bin/utter* /usr/lib/utterd /usr/lib/systemd/*/utterd.service /usr/share/dbus-1/*/org.utterd.* /usr/lib/*.d/utterd.conf /etc/utterd
        gpasswd --delete kiosk utterd && userdel utterd && systemctl daemon-reload && systemctl reload dbus";
    m.ok(&["sh", "-c", remove])?;
    let gone = m.call("root", &["Reload"]);
    check(gone.is_err(), "it is gone", &format!("{gone:?}"))?;
    m.ok(&["env", "BUILD=/srv/utterd/build", "/srv/utterd/systemd/install", "", "/usr/local"])?;
    m.ok(&["gpasswd", "--add", "kiosk", "utterd"])?;
    m.speak("kiosk", "Installed a moment ago.")?;
    let program = m.says(&["readlink", &format!("/proc/{}/exe", m.show("utterd", "MainPID"))]);
    check(
        program == "/usr/local/bin/utterd",
        "the first call started /usr/local/bin/utterd and a member spoke",
        &program,
    )
}
