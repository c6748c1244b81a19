//! The scenarios, one file per promise, in one program: each program carries 33 MB of debug information, most of it the standard library's.
#![allow(clippy::unwrap_used)]

mod backends;
mod bargein;
mod cancel;
mod capture;
mod churn;
mod clients;
mod contract;
mod conversation;
mod detectors;
mod driver;
mod floor;
mod garbage;
mod harness;
mod hear;
mod heard;
mod hearing;
mod http;
mod https;
mod inject;
mod install;
mod metrics;
mod owner;
mod pause;
mod phase;
mod play;
mod push_to_talk;
mod readers;
mod recordings;
mod refusals;
mod room;
mod service;
mod soak;
mod speak;
mod streams;
mod text;
mod utterctl;
mod walls;

#[test]
fn every_file_of_scenarios_is_in_this_program() {
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            name == "main" || include_str!("main.rs").contains(&format!("mod {name};")),
            "{} is never run: name it in main.rs",
            path.display()
        );
    }
}
