//! The world of the demo and the thread of the story: what is typed, what is told and when.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use utterd_tests::bins;
use utterd_tests::clock::now_us;
use utterd_tests::daemon::{PLUGINS, Plan};
use utterd_tests::jack::JackOptions;
use utterd_tests::monitor::Monitor;
use utterd_tests::world::World;

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) monitor: Monitor,
    zero_us: Cell<u64>,
}

impl Stage {
    pub(crate) fn set() -> Stage {
        let zero_us = Cell::new(now_us());
        println!("A private message bus, a JACK server without a sound card, the daemon, and an ear on the other side of JACK:\n");
        let plugins = PLUGINS.iter().copied().chain(["utterd-detector-bargein"]);
        let plan = Plan {
            config: format!("[recording]\ndir = \"{}\"\n", folder().display()),
            plugins: plugins.map(str::to_owned).collect(),
            ..Plan::default()
        };
        let world = World::with(JackOptions { rate: 48_000, period: 256 }, &plan);
        let monitor = Monitor::start(world.bus.address());
        let stage = Stage { world, monitor, zero_us };
        stage.told(&format!("bus     {}", stage.world.bus.address()));
        stage.told(&format!(
            "jackd   dummy driver, {} Hz, {} frames a period ({})",
            stage.world.jack.rate(),
            stage.world.jack.period(),
            utterd_tests::jack::realtime_flag()
        ));
        let client = &stage.world.client;
        stage.told(&format!(
            "utterd  {}, driver {}",
            client.manager_text("Version"),
            client.manager_text("Driver")
        ));
        stage
    }

    pub(crate) fn say_line(&self, line: &str) {
        println!("{line}");
    }

    pub(crate) fn told(&self, what: &str) {
        println!("{:7.2} s  {what}", self.seconds(now_us()));
    }

    /// The same for what happened at this moment, by whom.
    pub(crate) fn told_at(&self, us: u64, who: &str, what: &str) {
        println!("{:7.2} s  {who:<7} {what}", self.seconds(us));
    }

    fn seconds(&self, us: u64) -> f64 {
        (us as f64 - self.zero_us.get() as f64) / 1e6
    }

    /// From here on times are told from this moment.
    pub(crate) fn count_from(&self, us: u64) {
        self.zero_us.set(us);
    }

    /// Runs utterctl and shows it as it would be typed.
    pub(crate) fn ctl(&self, args: &[&str]) {
        let typed: Vec<String> = args
            .iter()
            .map(|a| if a.contains(' ') { quote(a) } else { (*a).to_owned() })
            .collect();
        self.told(&format!("$ utterctl {}", typed.join(" ")));
        let mut command = Command::new(bins::utterctl());
        command
            .args(["--bus-address", self.world.bus.address()])
            .args(args)
            .stdin(Stdio::null());
        let out = command.output().unwrap();
        let code = out.status.code().unwrap_or(-1);
        for line in String::from_utf8_lossy(&out.stdout)
            .lines()
            .chain(String::from_utf8_lossy(&out.stderr).lines())
        {
            println!("           {line}");
        }
        // A cancelled utterance's code is 3; whatever else is not 0 is trouble.
        assert!(code == 0 || code == 3, "utterctl {} ended with {code}", typed.join(" "));
    }
}

pub(crate) fn quote(text: &str) -> String {
    format!("{text:?}")
}

/// Where everything that is to keep goes.
pub(crate) fn folder() -> PathBuf {
    let folder = bins::workspace().join("target/demo");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A command to listen with: one that is here, else the likeliest.
pub(crate) fn player(wav: &std::path::Path) -> String {
    let here = |program: &&&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(program).exists())
    };
    let players = ["pw-play", "paplay", "aplay", "ffplay", "mpv"];
    let player = players.iter().find(here).copied().unwrap_or("aplay");
    format!("{player} {}", wav.display())
}
