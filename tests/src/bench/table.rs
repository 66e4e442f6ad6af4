//! The result: rows with a goal, as a Markdown table that lines up, and as JSON.

use serde::Serialize;

use super::stats::Summary;

/// One line of the result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// In which unit.
    pub unit: Unit,
    /// What it shall be.
    pub goal: Goal,
    /// What it was; none when it could not be measured.
    pub measured: Option<Summary>,
    /// Whether the goal is met; none without a goal or a measurement.
    pub met: Option<bool>,
}

/// What the numbers of a row count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// Time.
    Seconds,
    /// Memory.
    Mebibytes,
    /// A share of one core.
    MillisecondsPerSecond,
    /// Anything else.
    Count,
}

/// What a row shall be at most; a bound that is not given binds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Goal {
    /// Of the median.
    pub p50: Option<f64>,
    /// Of the 99th percentile.
    pub p99: Option<f64>,
    /// Of every sample.
    pub max: Option<f64>,
}

/// Columns that hold numbers.
const RIGHT: [bool; 7] = [false, false, true, true, true, true, false];

// === impl Goal ===

impl Goal {
    /// Nothing.
    pub const NONE: Self = Self { p50: None, p99: None, max: None };

    /// Bounds of percentiles.
    pub fn percentiles(p50: Option<f64>, p99: f64) -> Self {
        Self { p50, p99: Some(p99), max: None }
    }

    /// A bound of every sample.
    pub fn at_most(max: f64) -> Self {
        Self { max: Some(max), ..Self::NONE }
    }

    fn met(&self, measured: &Summary) -> Option<bool> {
        let bounds = [(self.p50, measured.p50), (self.p99, measured.p99), (self.max, measured.max)];
        let mut given = bounds.into_iter().filter_map(|(bound, value)| Some(value <= bound?)).peekable();
        given.peek()?;
        Some(given.all(|kept| kept))
    }

    fn text(&self, unit: Unit) -> String {
        let bounds = [("p50 ", self.p50), ("p99 ", self.p99), ("", self.max)];
        let given = bounds.into_iter().filter_map(|(name, bound)| {
            let bound = bound?;
            // "≤ 0" would be odd.
            let sign = if bound == 0.0 { "" } else { "≤ " };
            Some(format!("{name}{sign}{}", unit.bound(bound)))
        });
        let text = given.collect::<Vec<_>>().join(", ");
        if text.is_empty() { "–".to_owned() } else { text }
    }
}

// === impl Unit ===

impl Unit {
    /// With as many digits for every number, so that a column can be read down.
    fn text(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 1.0 => format!("{:.0} ms", value * 1000.0),
            Self::Seconds => format!("{value:.2} s"),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::MillisecondsPerSecond => format!("{value:.1} ms/s"),
            Self::Count if value.fract() == 0.0 => format!("{value:.0}"),
            Self::Count => format!("{value:.2}"),
        }
    }

    /// A bound, which is a round number.
    fn bound(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 1.0 => format!("{} ms", value * 1000.0),
            Self::Seconds => format!("{value} s"),
            Self::Mebibytes => format!("{value} MiB"),
            Self::MillisecondsPerSecond => format!("{value} ms/s"),
            Self::Count => value.to_string(),
        }
    }
}

// === impl Row ===

impl Row {
    /// A row of many samples.
    pub fn samples(what: impl Into<String>, unit: Unit, goal: Goal, samples: &[f64]) -> Self {
        let measured = Summary::of(samples);
        let met = measured.as_ref().and_then(|measured| goal.met(measured));
        Self { what: what.into(), unit, goal, measured, met }
    }

    /// A row of one number.
    pub fn one(what: impl Into<String>, unit: Unit, goal: Goal, value: Option<f64>) -> Self {
        Self::samples(what, unit, goal, value.as_slice())
    }

    fn cells(&self) -> [String; 7] {
        let number = |pick: fn(&Summary) -> f64, always: bool| match &self.measured {
            Some(measured) if always || measured.n > 1 => self.unit.text(pick(measured)),
            Some(_) => String::new(),
            None => "–".to_owned(),
        };
        let met = match self.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        [
            self.what.clone(),
            self.goal.text(self.unit),
            self.measured.map_or(0, |measured| measured.n).to_string(),
            number(|measured| measured.p50, false),
            number(|measured| measured.p99, false),
            number(|measured| measured.max, true),
            met.to_owned(),
        ]
    }
}

/// All rows as a Markdown table.
pub fn markdown(rows: &[Row]) -> String {
    let head = ["what", "goal", "n", "p50", "p99", "max", "met"].map(str::to_owned);
    let lines: Vec<[String; 7]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let widths: [usize; 7] = std::array::from_fn(|column| {
        // A rule needs three dashes.
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0).max(3)
    });
    let rule: [String; 7] = std::array::from_fn(|column| match RIGHT[column] {
        true => format!("{}:", "-".repeat(widths[column] - 1)),
        false => "-".repeat(widths[column]),
    });
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        text.push_str(&one_line(line, &widths));
        if index == 0 {
            text.push_str(&one_line(&rule, &widths));
        }
    }
    text
}

fn one_line(cells: &[String; 7], widths: &[usize; 7]) -> String {
    let padded: [String; 7] = std::array::from_fn(|column| match RIGHT[column] {
        true => format!("{:>width$}", cells[column], width = widths[column]),
        false => format!("{:<width$}", cells[column], width = widths[column]),
    });
    format!("| {} |\n", padded.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up_and_says_what_is_met() {
        let rows = [
            Row::one("pods replaced", Unit::Count, Goal::at_most(0.0), Some(0.0)),
            Row::samples("Service → file", Unit::Seconds, Goal::percentiles(Some(0.05), 0.5), &[0.031, 0.6]),
            Row::one("memory", Unit::Mebibytes, Goal::NONE, None),
        ];
        let expected = "\
| what           | goal                     |   n |   p50 |    p99 |    max | met    |
| -------------- | ------------------------ | --: | ----: | -----: | -----: | ------ |
| pods replaced  | 0                        |   1 |       |        |      0 | yes    |
| Service → file | p50 ≤ 50 ms, p99 ≤ 500 ms |   2 | 31 ms | 600 ms | 600 ms | **no** |
| memory         | –                        |   0 |     – |      – |      – | –      |
";
        let text = markdown(&rows);
        let lengths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
        let squeeze =
            |text: &str| text.split_whitespace().filter(|word| !word.starts_with('-')).collect::<String>();
        assert_eq!(squeeze(&text), squeeze(expected), "{text}");
    }

    #[test]
    fn a_goal_is_met_when_every_bound_is_kept() {
        let met = |goal: Goal, samples: &[f64]| Row::samples("", Unit::Seconds, goal, samples).met;
        assert_eq!(met(Goal::percentiles(Some(1.0), 2.0), &[1.0, 2.0]), Some(true));
        assert_eq!(met(Goal::percentiles(Some(0.5), 2.0), &[1.0, 2.0]), Some(false));
        assert_eq!(met(Goal::at_most(0.0), &[0.0, 1.0]), Some(false));
        assert_eq!(met(Goal::NONE, &[1.0]), None);
        assert_eq!(met(Goal::at_most(1.0), &[]), None);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(Unit::Seconds.text(0.0372), "37 ms");
        assert_eq!(Unit::Seconds.text(6.5), "6.50 s");
        assert_eq!(Unit::Seconds.bound(6.5), "6.5 s");
        assert_eq!(Unit::Seconds.bound(0.05), "50 ms");
        assert_eq!(Unit::Mebibytes.text(8.0), "8.0 MiB");
        assert_eq!(Unit::Mebibytes.bound(8.0), "8 MiB");
        assert_eq!(Unit::MillisecondsPerSecond.text(0.25), "0.2 ms/s");
        assert_eq!(Unit::MillisecondsPerSecond.bound(5.0), "5 ms/s");
        assert_eq!((Unit::Count.text(1.0), Unit::Count.text(1.254)), ("1".to_owned(), "1.25".to_owned()));
    }
}
