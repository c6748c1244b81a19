//! First-class peers of the daemon that can be slow, late, dead or wrong on request; faults are switched on by name.

pub mod tls;
pub mod tts;
