//! The microphone: `in_1` and on, opened and closed on the guard's order, and missed when its ports go. `[worker]`

use super::kept::{AUDIO, Kept, owner};
use crate::driver::{DeviceAnswer, Of};
use jack::{AudioIn, Client, Port, PortFlags};

/// A microphone is heard through so many of its channels.
const CAPTURE_PORTS: usize = 2;

/// The open microphone: `in_1` and on. Its samples go nowhere yet: the server fills the ports, and until there are detectors and readers the
/// render thread does not even look at them.
pub(super) struct Capture {
    pub(super) of: Of,
    ins: Vec<Port<AudioIn>>,
    /// The ports they were connected to.
    sources: Vec<String>,
}

impl Kept {
    pub(super) fn open_capture(&mut self, of: &Of) -> DeviceAnswer {
        if let Some(before) = self.capture.take() {
            self.close_capture(before);
        }
        self.awaited = None;
        let sources = sources(self.client.as_client());
        if sources.is_empty() {
            self.awaited = Some(of.clone());
            return DeviceAnswer::Failed {
                reason: "the JACK server has no physical capture port".into(),
            };
        }
        let mut capture = Capture {
            of: of.clone(),
            ins: Vec::new(),
            sources: Vec::new(),
        };
        for (n, source) in sources.into_iter().enumerate() {
            if let Err(error) = self.open_in(&mut capture, n, source) {
                self.close_capture(capture);
                return DeviceAnswer::Failed { reason: error.to_string() };
            }
        }
        tracing::info!(session = %of.session, generation = of.generation, from = ?capture.sources, "the microphone is open");
        self.capture = Some(capture);
        DeviceAnswer::Opened
    }

    fn open_in(&self, capture: &mut Capture, n: usize, source: String) -> Result<(), jack::Error> {
        let client = self.client.as_client();
        let port = client.register_port(&format!("in_{}", n + 1), AudioIn::default())?;
        let name = port.name();
        capture.ins.push(port);
        match client.connect_ports_by_name(&source, &name?) {
            Ok(()) | Err(jack::Error::PortAlreadyConnected(..)) => {
                capture.sources.push(source);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn close_capture(&self, capture: Capture) {
        let Of { session, generation, .. } = &capture.of;
        for port in capture.ins {
            if let Err(error) = self.client.as_client().unregister_port(port) {
                tracing::warn!(%session, generation, %error, "a capture port was not closed");
            }
        }
        tracing::info!(%session, generation, "the microphone is closed");
    }

    /// Tells of a microphone whose ports have gone, and of one that could be opened again.
    pub(super) fn watch_capture(&mut self) {
        let client = self.client.as_client();
        let is_gone = |c: &mut Capture| c.sources.iter().any(|source| client.port_by_name(source).is_none());
        if let Some(capture) = self.capture.take_if(is_gone) {
            let of = capture.of.clone();
            self.close_capture(capture);
            self.teller.tell(of.clone(), DeviceAnswer::Lost);
            self.awaited = Some(of);
        }
        if self.awaited.is_some()
            && !sources(self.client.as_client()).is_empty()
            && let Some(of) = self.awaited.take()
        {
            self.teller.tell(of, DeviceAnswer::Back);
        }
    }
}

/// The ports our inputs should hear, in order: channels of the first sound card that captures.
fn sources(client: &Client) -> Vec<String> {
    let physical = client.ports(None, Some(AUDIO), PortFlags::IS_OUTPUT | PortFlags::IS_PHYSICAL);
    let card = physical.first().map(|port| owner(port).to_owned());
    let of_card = physical.into_iter().filter(|port| Some(owner(port)) == card.as_deref());
    of_card.take(CAPTURE_PORTS).collect()
}
