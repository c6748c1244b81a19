//! The command line of the daemon.

use std::path::PathBuf;

use clap::{ArgGroup, Parser, ValueEnum};

use crate::dbus::BusKind;

/// The real-time mouth and ears of voice agents.
///
/// Without a bus option utterd takes the session bus when there is one, else the system bus. Exit status: 0 stopped as asked, 1 could not
/// start or lost the bus, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version, group(ArgGroup::new("bus").args(["system", "session", "bus_address"])))]
pub struct Cli {
    /// Read this file and FILE.d/*.toml instead of the installed configuration.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Serve on the system bus.
    #[arg(long)]
    pub system: bool,
    /// Serve on the session bus.
    #[arg(long)]
    pub session: bool,
    /// Serve on the bus at this address.
    #[arg(long, value_name = "ADDRESS")]
    pub bus_address: Option<String>,
    /// Look for plugins in this folder instead of the configured ones; may be given several times.
    #[arg(long, value_name = "DIR")]
    pub plugin_dir: Vec<PathBuf>,
    /// Who calls the renderer, instead of the configured driver.
    #[arg(long, value_enum)]
    pub driver: Option<DriverName>,
    /// Check the configuration and exit: 0 if it holds, else 1 and what is wrong.
    #[arg(long)]
    pub check_config: bool,
    /// Try one plugin file and exit: how utterd itself meets a plugin's code for the first time, in a child process.
    #[arg(long, value_name = "FILE", hide = true)]
    pub plugin_probe: Option<PathBuf>,
    /// Run the detector of a plugin file for the daemon that started this process.
    #[arg(long, value_name = "FILE", hide = true)]
    pub plugin_host: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DriverName {
    /// JACK if a server answers at the start, else the timer.
    Auto,
    /// JACK, however long it takes until a server comes.
    Jack,
    /// A null sink on the monotonic clock.
    Timer,
}

impl Cli {
    /// The bus to serve on.
    pub fn bus(&self) -> BusKind {
        match &self.bus_address {
            Some(address) => BusKind::Address(address.clone()),
            None if self.system => BusKind::System,
            None if self.session || std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some() => BusKind::Session,
            None => BusKind::System,
        }
    }
}
