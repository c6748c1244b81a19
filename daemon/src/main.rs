//! utterd: parse, log, settings, run, stop. The work lives in the rooms.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use utterd::cli::Cli;
use utterd::{observe, plugins, run, settings};

fn main() {
    utterd::spare_memory();
    let cli = Cli::parse();
    let status = match start(cli) {
        Ok(status) => status,
        Err(error) => {
            explain(&*error);
            1
        }
    };
    // Plugins stay mapped until the process ends (plugin ABI, decision 4): no destructor of theirs may run after the threads that it
    // knows are gone.
    utterd::exit_now(status)
}

fn start(cli: Cli) -> Result<i32, Box<dyn Error>> {
    if let Some(file) = &cli.plugin_probe {
        return Ok(plugins::probe_main(file));
    }
    if let Some(file) = &cli.plugin_host {
        let log = observe::log::start(utterd_config::Level::Info, utterd_config::LogFormat::Auto)?;
        let status = plugins::host_main(file);
        log.flush(Duration::from_millis(200));
        return Ok(status);
    }
    let source = settings::source(&cli);
    let settings = settings::load(&cli, &source)?;
    if cli.check_config {
        let files = utterd_config::files(&source)?;
        match files.len() {
            0 => writeln!(std::io::stdout(), "no configuration file: the defaults hold")?,
            _ => files
                .iter()
                .try_for_each(|file| writeln!(std::io::stdout(), "{}: good", file.display()))?,
        }
        return Ok(0);
    }
    let log = Arc::new(observe::log::start(settings.log.level, settings.log.format)?);
    let outcome = run::run(cli, source, &settings, Arc::clone(&log));
    log.flush(Duration::from_millis(200));
    outcome.map(|()| 0)
}

/// One cause per line.
fn explain(error: &dyn Error) {
    let mut stderr = std::io::stderr().lock();
    let mut line = format!("utterd: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(&format!("\n  because {error}"));
        cause = error.source();
    }
    // Without a standard error there is nobody to tell.
    if writeln!(stderr, "{line}").is_err() {}
}
