//! The shortest whole plugin: it beeps once a word. `cargo build -p utterd-plugin-api --example hello` makes `libhello.so`, which may be
//! dropped into a plugin folder as it is. A crate of your own needs `crate-type = ["cdylib"]` and utterd-plugin-api.

use utterd_plugin_api::prelude::*;

struct Beep;

impl Tts for Beep {
    type Config = NoConfig;
    const MARKS: bool = true;
    fn new(_: Host, _: &str, _: NoConfig) -> Result<Self> {
        Ok(Beep)
    }
    fn describe(&self) -> TtsDescription {
        description([voice("beep", "en", 16_000)])
    }
    fn speak(&self, req: &Speak<'_>, out: &mut AudioOut<'_>) -> Result<()> {
        req.voice_among(&["beep"])?;
        out.set_rate(16_000)?;
        let beep: Vec<f32> = (0..3_200).map(|n| 0.2 * (n as f32 * 0.173).sin()).collect();
        for word in req.words() {
            out.word(&word)?;
            out.write(&beep)?; // Err(Cancelled) ends it
        }
        Ok(())
    }
}

export_plugin!("hello-rust", tts: Beep);
