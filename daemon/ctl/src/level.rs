//! A volume as a person types it, and as the contract counts it.

/// The end of the contract's range.
const MOST_DB: f64 = 24.0;

/// What a person may type as a volume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Level {
    Percent(f64),
    Step(f64),
    Decibel(f64),
}

impl Level {
    pub(crate) fn parse(text: &str) -> Result<Level, String> {
        const HELP: &str = "expected a level such as 50%, +10%, -10% or -6dB";
        if let Some(db) = text.strip_suffix("dB").or_else(|| text.strip_suffix("db")) {
            return finite(db).map(Level::Decibel).ok_or(HELP.into());
        }
        let digits = text.strip_suffix('%').unwrap_or(text);
        let number = finite(digits).ok_or(HELP)?;
        if digits.starts_with(['+', '-']) {
            return Ok(Level::Step(number));
        }
        let db = 20.0 * (number / 100.0).log10();
        // 1585% is what a person is shown for +24 dB.
        if db > MOST_DB + 0.01 {
            return Err(format!("{number}% is {db:+.1} dB; allowed: 0% to 1584%, which is +24 dB"));
        }
        Ok(Level::Percent(number))
    }

    /// The gain to set, given the one in force.
    pub(crate) fn gain_db(self, now: f64) -> f64 {
        match self {
            Level::Percent(percent) => to_db(percent),
            Level::Step(step) => to_db(to_percent(now) + step),
            Level::Decibel(db) => db,
        }
    }
}

fn finite(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|n| n.is_finite())
}

/// 20·log10; the contract's range ends at −120 and +24 dB.
fn to_db(percent: f64) -> f64 {
    if percent <= 0.0 {
        -120.0
    } else {
        (20.0 * (percent / 100.0).log10()).clamp(-120.0, MOST_DB)
    }
}

pub(crate) fn to_percent(db: f64) -> f64 {
    if db <= -120.0 { 0.0 } else { 100.0 * 10_f64.powf(db / 20.0) }
}

pub(crate) fn describe_gain(db: f64) -> String {
    format!("{:.0}% ({db:+.1} dB)", to_percent(db))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read_as_people_write_them() {
        let cases = [
            ("50%", Level::Percent(50.0)),
            ("50", Level::Percent(50.0)),
            ("+10%", Level::Step(10.0)),
            ("-10%", Level::Step(-10.0)),
            ("-6dB", Level::Decibel(-6.0)),
            ("1585%", Level::Percent(1585.0)),
            ("0%", Level::Percent(0.0)),
        ];
        for (text, level) in cases {
            assert_eq!(Level::parse(text), Ok(level));
        }
        for text in ["", "%", "loud", "NaN%", "inf", "dB"] {
            assert!(Level::parse(text).is_err(), "{text}");
        }
        let loud = Level::parse("2000%").unwrap_err();
        assert!(
            loud.contains("2000%") && loud.contains("+26.0 dB") && loud.contains("1584%"),
            "{loud}"
        );
    }

    #[test]
    fn percent_is_20_log_10_and_0_is_silence() {
        for (percent, db) in [
            (100.0, 0.0),
            (50.0, -6.0206),
            (10.0, -20.0),
            (200.0, 6.0206),
            (0.0, -120.0),
            (-5.0, -120.0),
            (99_999.0, 24.0),
        ] {
            assert!((to_db(percent) - db).abs() < 1e-4, "{percent}% = {} dB", to_db(percent));
        }
        assert_eq!(describe_gain(-120.0), "0% (-120.0 dB)");
        assert_eq!(describe_gain(0.0), "100% (+0.0 dB)");
    }

    #[test]
    fn a_step_counts_in_percent_from_where_it_is() {
        assert!((Level::Step(-50.0).gain_db(0.0) - to_db(50.0)).abs() < 1e-9);
        assert_eq!(Level::Step(-50.0).gain_db(to_db(30.0)), -120.0);
        assert!((Level::Step(10.0).gain_db(-120.0) - to_db(10.0)).abs() < 1e-9);
    }
}
