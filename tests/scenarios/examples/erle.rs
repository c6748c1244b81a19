use utterd_scenarios::{corpus::Corpus, dice::Dice, path::Path, signal::*};
use utterd_detector_bargein::training::Probe;
fn main() {
    let corpus = Corpus::load(std::path::Path::new("/tmp/h5d/corpus"), "test").unwrap();
    for bent in [0.0, 1.0] { for rate in [16000u32, 8000] {
    let mut sums = vec![(0.0f32, 0.0f32, 0); 10];
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let n = 160_000;
        let mut far = vec![0.0; n];
        let mut at = 2000;
        let v = dice.below(corpus.human.len());
        while at < n { let c = &corpus.human[v].clips; let c = dice.pick(c); let mut t = c.samples[c.onset..c.end].to_vec(); level_to(&mut t, -20.0); mix(&mut far, &t, at); at += t.len() + ms(150.0); }
        let mut p = Path::draw(&mut dice, 10_000.0, false); p.bent = bent; p.drift_ppm = 0.0; p.gate = 0.0; p.line = seed % 2 == 0; p.erl_db = 12.0;
        let mut near = p.echo(&far, &mut dice);
        let mut echo = near.clone();
        near.iter_mut().for_each(|s| *s += 0.0003 * dice.normal());
        if rate == 8000 { near = halve(&near); far = halve(&far); echo = halve(&echo); }
        let mut clean = vec![0.0; near.len()];
        let mut probe = Probe::new(rate);
        let b = rate as usize / 100;
        for (k, c) in clean.chunks_mut(b).enumerate() { probe.feed(&near[k*b..k*b+c.len()], Some(&far[k*b..k*b+c.len()]), Some(c), |_, _| {}); }
        for s in 0..10 { let r = s*rate as usize..((s+1)*rate as usize).min(clean.len()); let e = power(&echo[r.clone()]); let c = power(&clean[r]); if e > 1e-6 { sums[s].0 += 10.0*(e/c).log10(); sums[s].2 += 1; } }
    }
    println!("bent {bent} rate {rate}: {}", sums.iter().map(|s| format!("{:.1}", s.0 / s.2.max(1) as f32)).collect::<Vec<_>>().join(" "));
    }}
}
