//! The child's side of a detector that has a process to itself (`isolated.rs`): maps the plugin's private copy, opens one stream, and hears
//! frame by frame until its socket, which comes as standard input, is closed.

use std::ffi::OsStr;
use std::io::{self, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::detector::*;
use super::listen::Listener;
use super::wire::{self, Opened, Opening, Request};
use super::{elf, library, probe, stage};
use crate::driver::sched::flush_denormals;

/// `main` calls this before anything else for `--plugin-host FILE` and ends with what it returns. `[the only plugin thread of its process]`
pub fn host_main(copy: &Path) -> i32 {
    probe::limit_self();
    match serve(copy) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(copy = %copy.display(), %error, "a detector's process ends");
            1
        }
    }
}

fn serve(copy: &Path) -> io::Result<()> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // The plugin may read what it likes, but not this.
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    let mut requests = BufReader::with_capacity(1 << 16, socket.try_clone()?);
    let opening: Opening = wire::read_line(&mut requests)?;
    let (detector, mut stream) = match open(copy, &opening) {
        Ok(opened) => opened,
        Err(why) => return socket.write_all(&wire::line(&Opened::Err(why))?),
    };
    socket.write_all(&wire::line(&Opened::Ok(()))?)?;
    flush_denormals();
    let (mut packet, mut clean) = (Vec::new(), Vec::new());
    while let Some(request) = wire::read_request(&mut requests, opening.frame)? {
        let heard = match request {
            Request::Reset => {
                stream.reset();
                continue;
            }
            Request::Hear(heard) => heard,
        };
        clean.clear();
        clean.resize(if heard.wants_clean { heard.near.len() } else { 0 }, 0.0);
        let input = DetectorInput {
            t: heard.t,
            near: &heard.near,
            far: heard.far.as_deref(),
            far_delay: heard.far_delay,
            lost: heard.lost,
            flags: heard.flags,
        };
        let result = stream.process(input, heard.wants_clean.then_some(&mut clean));
        wire::put_answer(&mut packet, result, &detector.counts(), &clean);
        socket.write_all(&packet)?;
    }
    Ok(())
}

fn open(copy: &Path, opening: &Opening) -> Result<(Detector, DetectorStream), String> {
    let bytes = std::fs::read(copy).map_err(|e| format!("{}: {e}", copy.display()))?;
    let manifest = elf::inspect(&bytes)?;
    if stage::rehash(copy)? != opening.hash {
        return Err(format!("its private copy {} was changed", copy.display()));
    }
    let found = Path::new(OsStr::from_bytes(&opening.found));
    let mapped = library::map(copy, opening.hash, &manifest, found)?;
    let listener = Listener::create(mapped, &manifest.id, found, &opening.config, opening.sensitivity).map_err(|refused| refused.reason)?;
    let detector = Detector::new(listener.describe(&manifest.id)?, Box::new(listener));
    let spec = DetectorStreamSpec {
        session: opening.session,
        rate: opening.rate,
        frame: opening.frame,
        language: &opening.language,
        one_stage: opening.one_stage,
    };
    let stream = detector.open(spec).map_err(|e| e.to_string())?;
    Ok((detector, stream))
}
