//! `additionalArgs`: read as Thanos' parser reads them and merged with ours.
//!
//! Rules: reference "How `thanos query` discovers endpoints", section 1.4. A flag that may not be repeated ends
//! Thanos with exit 2 when it is there twice, so the user's replaces ours.

use std::fmt;

use super::thanos_args::{REPEATABLE, RESERVED};

/// One argument: `--name=value`, `--name` or `--no-name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    name: String,
    value: Option<String>,
}

// === impl Arg ===

impl Arg {
    /// `--name=value`.
    pub fn value(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: Some(value.into()) }
    }

    /// `--name`.
    pub fn switch(name: &str) -> Self {
        Self { name: name.to_owned(), value: None }
    }

    // `--no-x` switches `--x` off: they are one flag.
    fn key(&self) -> String {
        self.name.strip_prefix("--no-").map_or_else(|| self.name.clone(), |rest| format!("--{rest}"))
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

/// Merges the user's arguments into ours; returns those that are not used, each with the reason.
pub fn merge(mut ours: Vec<Arg>, given: &[String]) -> (Vec<Arg>, Vec<String>) {
    let (given, mut refused) = parse(given);
    for arg in given {
        let key = arg.key();
        if RESERVED.contains(&key.as_str()) {
            refused.push(format!("{arg}: {key} holds the endpoints and is set by the operator; remove it"));
        } else if REPEATABLE.contains(&key.as_str()) {
            if !ours.contains(&arg) {
                ours.push(arg);
            }
        } else if let Some(own) = ours.iter_mut().find(|own| own.key() == key) {
            *own = arg;
        } else {
            ours.push(arg);
        }
    }
    (ours, refused)
}

fn parse(given: &[String]) -> (Vec<Arg>, Vec<String>) {
    let mut args = Vec::new();
    let mut refused = Vec::new();
    let mut items = given.iter().peekable();
    while let Some(item) = items.next() {
        if !item.starts_with("--") || item.len() == 2 {
            refused.push(format!("{item:?}: not a flag; write it as --flag=value, --flag or --no-flag"));
            continue;
        }
        let arg = match item.split_once('=') {
            Some((name, value)) => Arg::value(name, value),
            // A flag and its value as two items.
            None => match items.next_if(|next| !next.starts_with("--")) {
                Some(value) => Arg::value(item, value),
                None => Arg::switch(item),
            },
        };
        args.push(arg);
    }
    (args, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(ours: Vec<Arg>, given: &[&str]) -> (String, Vec<String>) {
        let given: Vec<String> = given.iter().map(|&arg| arg.to_owned()).collect();
        let (args, refused) = merge(ours, &given);
        (args.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), refused)
    }

    #[test]
    fn a_flag_that_is_given_replaces_ours_in_its_place() {
        let ours = || vec![Arg::value("--a", "1"), Arg::switch("--b"), Arg::value("--c", "3")];
        assert_eq!(merged(ours(), &["--c=4", "--a", "2", "--no-b"]).0, "--a=2 --no-b --c=4");
    }

    #[test]
    fn values_may_end_in_an_equals_sign_or_hold_one() {
        assert_eq!(merged(vec![], &["--x=YWJj=", "--y=a=b"]).0, "--x=YWJj= --y=a=b");
    }

    #[test]
    fn a_repeatable_flag_is_added() {
        let ours = vec![Arg::value("--query.replica-label", "replica")];
        let given = ["--query.replica-label=pod", "--query.replica-label=replica"];
        assert_eq!(merged(ours, &given).0, "--query.replica-label=replica --query.replica-label=pod");
    }

    #[test]
    fn what_is_no_flag_is_refused_and_the_rest_is_used() {
        let (args, refused) = merged(vec![], &["query", "--a=1", "--"]);
        assert_eq!(args, "--a=1");
        assert_eq!(refused.len(), 2);
    }
}
