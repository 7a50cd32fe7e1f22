//! One measured figure, its target, and how they are printed.

use serde_json::json;

use crate::output::{Exit, answer};

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Told for what it is.
    None,
}

/// One measured figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Dotted name, e.g. `log.append_rate`.
    pub name: String,
    /// What was measured.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it should be.
    pub target: Target,
}

impl Figure {
    /// The line `name value unit target met|not-met`.
    #[must_use]
    pub fn line(&self) -> String {
        let (target, met) = match self.target {
            Target::AtLeast(least) => (format!(">={}", number(least)), self.met()),
            Target::AtMost(most) => (format!("<={}", number(most)), self.met()),
            Target::None => ("-".to_owned(), None),
        };
        let met = match met {
            Some(true) => "met",
            Some(false) => "not-met",
            None => "-",
        };
        format!(
            "{} {} {} {target} {met}",
            self.name,
            number(self.value),
            self.unit
        )
    }

    /// Whether the target is met; `None` without one.
    #[must_use]
    pub fn met(&self) -> Option<bool> {
        match self.target {
            Target::AtLeast(least) => Some(self.value >= least),
            Target::AtMost(most) => Some(self.value <= most),
            Target::None => None,
        }
    }
}

/// Whole numbers where they are large, three digits after the point where they are small.
fn number(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

/// Figures as they come.
pub struct Report {
    json: bool,
    only: Vec<String>,
    figures: Vec<Figure>,
}

impl Report {
    /// Nothing measured yet. `only` are beginnings of names; empty means all.
    #[must_use]
    pub fn new(json: bool, only: Vec<String>) -> Self {
        Self {
            json,
            only,
            figures: Vec::new(),
        }
    }

    /// Whether a figure whose name begins like this is asked for.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty()
            || self
                .only
                .iter()
                .any(|only| name.starts_with(only.as_str()) || only.starts_with(name))
    }

    /// Takes a figure, and prints its line at once.
    pub fn add(&mut self, name: &str, value: f64, unit: &'static str, target: Target) {
        let figure = Figure {
            name: name.to_owned(),
            value,
            unit,
            target,
        };
        if !self.json && self.wants(name) {
            answer(figure.line());
        }
        self.figures.push(figure);
    }

    /// Prints what is left to print. Always "done": a slow machine is no failure.
    pub fn finish(self) -> Exit {
        if self.json {
            let figures: Vec<_> = self.figures.iter().map(as_json).collect();
            answer(format_args!("{:#}", json!({ "figures": figures })));
        }
        Exit::Yes
    }
}

fn as_json(figure: &Figure) -> serde_json::Value {
    let (at_least, at_most) = match figure.target {
        Target::AtLeast(least) => (Some(least), None),
        Target::AtMost(most) => (None, Some(most)),
        Target::None => (None, None),
    };
    json!({
        "name": figure.name, "value": figure.value, "unit": figure.unit,
        "at_least": at_least, "at_most": at_most, "met": figure.met(),
    })
}

/// The value below which this share (0 to 1) of the samples lies; 0 without samples.
#[must_use]
pub(super) fn quantile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position among some thousand samples"
    )]
    let position = (last as f64 * share).ceil() as usize;
    samples.get(position.min(last)).copied().unwrap_or(0.0)
}

/// A count as a number to calculate with.
#[must_use]
pub(super) fn float(count: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "figures have fewer digits than a float"
    )]
    let float = count as f64;
    float
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_one_line_that_says_whether_its_target_is_met() {
        let figure = |value, target| Figure {
            name: "log.append_rate".to_owned(),
            value,
            unit: "entries/s",
            target,
        };
        let line = figure(123_456.2, Target::AtLeast(100_000.0)).line();
        assert_eq!(line, "log.append_rate 123456 entries/s >=100000 met");
        let line = figure(32.7, Target::AtMost(32.6)).line();
        assert_eq!(line, "log.append_rate 32.7 entries/s <=32.6 not-met");
        let line = figure(0.125, Target::None).line();
        assert_eq!(line, "log.append_rate 0.125 entries/s - -");
    }

    #[test]
    fn a_quantile_is_one_of_the_samples() {
        let mut samples: Vec<f64> = (0..100).map(f64::from).rev().collect();
        assert_eq!(quantile(&mut samples, 0.5), 50.0);
        assert_eq!(quantile(&mut samples, 0.99), 99.0);
        assert_eq!(quantile(&mut [], 0.5), 0.0);
    }
}
