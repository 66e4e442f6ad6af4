//! One argument of Thanos, and who set it.

use std::fmt;

/// One argument: `--name=value`, `--name` or `--no-name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    name: String,
    value: Option<String>,
    field: Option<&'static str>,
}

/// Characters of one argument that a message shows.
const SHOWN: usize = 80;

/// `text` for a message: one line, and not too long.
pub fn short(text: &str) -> String {
    let line = text.split('\n').next().unwrap_or_default();
    let shown: String = line.chars().take(SHOWN).collect();
    if shown.len() == text.len() { shown } else { format!("{shown}…") }
}

// === impl Arg ===

impl Arg {
    /// `--name=value`, set by the operator itself.
    pub fn value(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: Some(value.into()), field: None }
    }

    /// `--name` or `--no-name`, set by the operator itself.
    pub fn switch(name: &str) -> Self {
        Self { name: name.to_owned(), value: None, field: None }
    }

    /// The same, set by the user in `field`.
    pub fn of(self, field: &'static str) -> Self {
        Self { field: Some(field), ..self }
    }

    /// As it is written: with dashes, and with `no-` if it is there.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What follows the `=`.
    pub fn given(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// The field of the ThanosQuery that it comes from; none when the operator sets it by itself.
    pub fn field(&self) -> Option<&'static str> {
        self.field
    }

    /// `--no-x` switches `--x` off: they are one flag.
    pub fn key(&self) -> String {
        self.name.strip_prefix("--no-").map_or_else(|| self.name.clone(), |rest| format!("--{rest}"))
    }

    /// Whether Thanos cannot tell them apart, whoever set them.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.name, &self.value) == (&other.name, &other.value)
    }

    /// For a message.
    pub fn shown(&self) -> String {
        short(&self.to_string())
    }

    /// `text` about this argument, beginning with the field that it comes from.
    pub fn message(&self, text: impl fmt::Display) -> String {
        let shown = self.shown();
        self.field.map_or_else(|| format!("{shown}: {text}"), |field| format!("{field}: {shown}: {text}"))
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_thanos_reads_it() {
        assert_eq!(Arg::value("--a", "b=c=").to_string(), "--a=b=c=");
        assert_eq!(Arg::switch("--no-a").to_string(), "--no-a");
        assert_eq!(Arg::switch("--no-a").key(), "--a");
    }

    #[test]
    fn a_message_begins_with_the_field_and_stays_on_one_line() {
        let arg = Arg::value("--tracing.config", "type: OTLP\nconfig:").of("spec.additionalArgs");
        assert_eq!(arg.message("no"), "spec.additionalArgs: --tracing.config=type: OTLP…: no");
    }
}
