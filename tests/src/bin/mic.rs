//! A sound card that only captures, as a client of JACK: `mic NAME` registers the physical port `NAME:capture_1` and brings 0.25 by it until its
//! input ends. The port is there a moment before it can be connected, as with any client. Killed, it takes the port with it, as a card does
//! that is pulled out. It says `ready`.
#![allow(clippy::unwrap_used)] // A helper of tests: its failure is the test's failure.

use jack::{Client, ClientOptions, Control, Port, PortFlags, PortSpec, ProcessScope};
use std::ffi::c_ulong;
use std::io::Read;

#[derive(Clone, Copy)]
struct Capture;

// SAFETY: the type and the flags are those of an output for audio, whose buffer JACK knows the size of.
unsafe impl PortSpec for Capture {
    fn jack_port_type(&self) -> &'static str {
        "32 bit float mono audio"
    }

    fn jack_flags(&self) -> PortFlags {
        PortFlags::IS_OUTPUT | PortFlags::IS_PHYSICAL | PortFlags::IS_TERMINAL
    }

    fn jack_buffer_size(&self) -> c_ulong {
        0
    }
}

struct Bring(Port<Capture>);

impl jack::ProcessHandler for Bring {
    fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
        let frames = scope.n_frames();
        // SAFETY: within the cycle JACK gives an audio port a buffer of this many floats, and only this callback writes it.
        let out = unsafe { std::slice::from_raw_parts_mut(self.0.buffer(frames).cast::<f32>(), frames as usize) };
        out.fill(0.25);
        Control::Continue
    }
}

fn main() {
    let name = std::env::args().nth(1).expect("usage: mic NAME");
    let (client, _) = Client::new(&name, ClientOptions::NO_START_SERVER).unwrap();
    let port = client.register_port("capture_1", Capture).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let _active = client.activate_async((), Bring(port)).unwrap();
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    // Deactivation blocks while a server is wedged.
    std::process::exit(0);
}
