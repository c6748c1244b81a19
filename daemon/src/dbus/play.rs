//! Play: a URI and its options to a request. What the URI names is opened and looked at here, through [`Services`], so that a wrong one is an
//! error of the call; the core decides the rest.

use utterd_core::{PlayOptions, Request, Sound, Target};

use super::Services;
use super::error::Refusal;
use super::options::{MAX_NUMBER, Options, Reader};

pub(super) fn request(target: Target, uri: &str, options: Options, services: &dyn Services) -> Result<Request, Refusal> {
    let mut reader = Reader::new(options);
    let options = PlayOptions {
        say: reader.sound_fields()?,
        text: reader.long_text("text")?.unwrap_or_default(),
        beside: reader.flag("beside")?.unwrap_or(false),
        duck_db: reader.real("duck-db", 0.0..=120.0)?,
    };
    let start_us = reader.whole("start-us", MAX_NUMBER)?.unwrap_or(0);
    let looped = reader.flag("loop")?.unwrap_or(false);
    reader.end()?;
    if options.duck_db.is_some() && !options.beside {
        return Err(Refusal::invalid_args(
            "option \"duck-db\" says how much a sound \"beside\" the speech is lowered: give both",
        ));
    }
    let found = services.find_sound(uri)?;
    let sound = Sound {
        path: found.path,
        duration_us: found.duration_us,
        start_us,
        looped,
    };
    Ok(Request::Play { target, sound, options })
}
