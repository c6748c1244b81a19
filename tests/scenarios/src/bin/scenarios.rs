//! Scenarios as files: 16-bit stereo WAV (channel 0 the far end, channel 1 the near end) for `utterd-detect`, and `labels.jsonl`.
//!
//! usage: scenarios CORPUS OUT_DIR COUNT [--split test|tune] [--seed N]

use std::io::Write;
use std::path::Path;
use utterd_scenarios::corpus::Corpus;
use utterd_scenarios::make::Scenario;
use utterd_scenarios::tracks::draw;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|n| args.get(n + 1)).cloned();
    let [root, out, count, ..] = &args[..] else {
        return Err("usage: scenarios CORPUS OUT_DIR COUNT [--split test|tune] [--seed N]".into());
    };
    let (count, seed) = (count.parse::<u64>()?, option("--seed").unwrap_or("1".into()).parse::<u64>()?);
    let corpus = Corpus::load(Path::new(root), &option("--split").unwrap_or("test".into()))?;
    let out = Path::new(out);
    std::fs::create_dir_all(out)?;
    let mut labels = std::fs::File::create(out.join("labels.jsonl"))?;
    for n in 0..count {
        let scenario = draw(&corpus, seed * 1_000_000 + n);
        let name = format!("{n:04}-{}-{}.wav", scenario.kind, scenario.rate);
        write(&scenario, &out.join(&name))?;
        writeln!(labels, "{}", scenario.label(&name))?;
    }
    Ok(())
}

fn write(scenario: &Scenario, path: &Path) -> Result<(), hound::Error> {
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: scenario.rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(path, spec)?;
    for (far, near) in scenario.far.iter().zip(&scenario.near) {
        // Samples are whole steps of 1 / 32768 already.
        wav.write_sample((far * 32_768.0).clamp(-32_768.0, 32_767.0) as i16)?;
        wav.write_sample((near * 32_768.0).clamp(-32_768.0, 32_767.0) as i16)?;
    }
    wav.finalize()
}
