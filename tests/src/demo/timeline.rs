//! The timeline on the terminal: one line a change, in columns.

use std::{
    io::{IsTerminal as _, stdout},
    time::Duration,
};

use super::measure::Times;

/// The width of the first column.
const CHANGE: usize = 34;

/// Prints; colours only for people.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    colours: bool,
}

// === impl Timeline ===

impl Timeline {
    /// On stdout.
    pub fn stdout() -> Self {
        Self { colours: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// A heading with an empty line above.
    pub fn heading(self, text: &str) {
        println!("\n{}", self.bold(text));
    }

    /// The names of the columns.
    pub fn columns(self) {
        println!(
            "  Time since the change was sent to the API server. Thanos looks at its endpoints every 5 s (refreshInterval),"
        );
        println!(
            "  at headless names one look later; all before that is the operator's and the agents' part.\n"
        );
        let (change, config_map, file) = ("change", "ConfigMap written", "file in each pod");
        let head = format!(
            "  {change:<CHANGE$}{config_map:>17}   {file:<20}{:<23}{}",
            "queried by each pod", "pods replaced"
        );
        println!("{}", self.bold(&head));
    }

    /// One change.
    pub fn change(self, change: &str, times: &Times) {
        let replaced = match times.replaced {
            0 => self.paint("0", "32"),
            number => self.paint(&number.to_string(), "31"),
        };
        println!(
            "  {change:<CHANGE$}{:>17}   {:<20}{:<23}{replaced}",
            shown(times.config_map),
            all(&times.files),
            all(&times.queried),
        );
    }

    /// A line below a heading.
    pub fn line(self, text: &str) {
        println!("  {text}");
    }

    /// A table with columns that line up; the first row is its head.
    pub fn table(self, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
            let text = cells.collect::<Vec<_>>().join("   ");
            let text = text.trim_end();
            println!("  {}", if number == 0 { self.bold(text) } else { text.to_owned() });
        }
    }

    fn bold(self, text: &str) -> String {
        self.paint(text, "1")
    }

    fn paint(self, text: &str, code: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A time as people say it.
pub fn shown(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

fn all(times: &[Duration]) -> String {
    times.iter().map(|&time| format!("{:<8}", shown(time))).collect::<Vec<_>>().join("").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(shown(Duration::from_micros(12_900)), "12 ms");
        assert_eq!(shown(Duration::from_millis(2_340)), "2.3 s");
        assert_eq!(all(&[Duration::from_millis(5), Duration::from_millis(1500)]), "5 ms    1.5 s");
    }
}
