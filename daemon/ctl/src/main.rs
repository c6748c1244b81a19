//! utterctl: utterd for people, shells and hooks.
//!
//! It is a client like any other: what it does, `busctl` can do, and everything it knows it learns from the promised
//! D-Bus interface. `cli` says what may be asked, `bus` finds the daemon and talks to it, `say` speaks and waits, `stream` speaks
//! what is still being written, `play` plays files, `act` holds
//! the short verbs, `list` the tables, `monitor` the stream of signals. `report` makes lines of a report, `json` makes JSON of
//! any D-Bus value, and `show` alone writes to the terminal.
//!
//! Deliberately absent: state between two runs, retries, and any wording for what the daemon refuses (its message is printed).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod act;
mod bus;
mod cli;
mod json;
mod level;
mod list;
mod monitor;
mod play;
mod report;
mod say;
mod show;
mod speech;
mod stream;
mod trouble;

use std::process::ExitCode;

use bus::{Bus, Patience};
use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use show::{Exit, Out};
use trouble::Trouble;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Out::for_this_terminal(cli.json, cli.verbose, cli.quiet);
    match run(&cli, &out) {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            out.trouble(&trouble);
            Exit::Other.into()
        }
    }
}

fn run(cli: &Cli, out: &Out) -> Result<Exit, Trouble> {
    if let Command::Completions { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "utterctl", &mut script);
        out.text(&String::from_utf8_lossy(&script));
        return Ok(Exit::Completed);
    }
    if let Command::Say(say) = &cli.command {
        if say.text == ["-"] && !say.no_wait {
            return stream::run(cli, say, out);
        }
        // Who does not wait for the end gets an id for the whole of standard input.
        return say::run(cli, say, say::text_of(&say.text)?, out);
    }
    if let Command::Play(play) = &cli.command {
        return play::run(cli, play, out);
    }
    let patience = match cli.command {
        Command::Wait { .. } | Command::Close { .. } => Patience::Endless,
        _ => Patience::Short,
    };
    let bus = Bus::open(&cli.choice(), patience, out)?;
    match &cli.command {
        Command::Say(_) | Command::Play(_) | Command::Completions { .. } => unreachable!("answered above"),
        Command::Wait { utterance, timeout, at } => say::wait(&bus, *utterance, *timeout, at.session.as_deref(), out),
        Command::Cancel(cancel) => act::cancel(&bus, cancel, out),
        Command::Pause { at } => act::pause(&bus, at.session.as_deref(), true, out),
        Command::Resume { at } => act::pause(&bus, at.session.as_deref(), false, out),
        Command::Volume { level, at } => act::volume(&bus, *level, at.session.as_deref(), out),
        Command::Speech(speech) => speech::report(&bus, speech, out),
        Command::Mute { mic, at } => act::mute(&bus, at.session.as_deref(), true, *mic, out),
        Command::Unmute { mic, at } => act::mute(&bus, at.session.as_deref(), false, *mic, out),
        Command::Close { drain, at } => act::close(&bus, &at.session, *drain, out),
        Command::Reload => act::reload(&bus, out),
        Command::Sessions => list::sessions(&bus, out),
        Command::Voices { backend, language, id } => list::voices(&bus, backend, language, id, out),
        Command::Devices => list::devices(&bus, out),
        Command::Plugins => list::plugins(&bus, out),
        Command::Metrics { format, at } => list::metrics(&bus, format.as_deref(), at.session.as_deref(), out),
        Command::History { limit, at } => list::history(&bus, *limit, at.session.as_deref(), out),
        Command::Status => list::status(&bus, out),
        Command::Monitor { at } => monitor::run(&bus, at.session.as_deref(), out),
    }
}
