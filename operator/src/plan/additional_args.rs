//! `additionalArgs`: read as Thanos' parser reads them, and merged with ours.
//!
//! Rules: reference "How `thanos query` discovers endpoints", section 1.4. What Thanos would refuse is left out and
//! told, since it would end every pod; the rest is used.

use std::{iter::Peekable, slice::Iter};

use sd_agent::ThanosVersion;

use super::{
    arg::{self, Arg},
    thanos_args::{KnownFlag, Minor, Program, ThanosArgs, Value},
    together,
};

/// All arguments, and what there is to say about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// What Thanos gets.
    pub args: Vec<Arg>,
    /// What is not used, each beginning with its field and with the reason.
    pub refused: Vec<String>,
    /// What works, but not as it seems; each begins with its field.
    pub remarks: Vec<String>,
}

/// Which arguments there may be.
#[derive(Clone, Copy, Debug)]
struct Parser {
    program: Program,
    minor: Minor,
}

type Items<'a> = Peekable<Iter<'a, String>>;

/// Merges what the user gives in `field` into `ours`. Those of `ours` that come from a field are checked, too.
pub fn merge(
    program: Program,
    version: ThanosVersion,
    ours: Vec<Arg>,
    field: &'static str,
    given: &[String],
) -> Merged {
    let parser = Parser { program, minor: Minor::from(version) };
    let mut merged = Merged::default();
    for arg in ours {
        // What the operator sets by itself is right; if it were not, a test would say so, and not the status.
        match arg.field().map_or(Ok(()), |_| parser.check(&arg)) {
            Ok(()) => merged.args.push(arg),
            Err(why) => merged.refused.push(arg.message(why)),
        }
    }
    let mut items = given.iter().peekable();
    while let Some(item) = items.next() {
        match parser.read(item, &mut items) {
            Ok(arg) => {
                let arg = arg.of(field);
                match parser.check(&arg) {
                    Ok(()) => merged.take(arg, program),
                    Err(why) => merged.refused.push(arg.message(why)),
                }
            }
            Err(why) => merged.refused.push(format!("{field}: {:?}: {why}", arg::short(item))),
        }
    }
    together::settle(&mut merged, program);
    merged
}

// === impl Parser ===

impl Parser {
    /// Reads one argument; its value may be the next item.
    fn read(self, item: &str, items: &mut Items<'_>) -> Result<Arg, String> {
        let (name, value) = match item.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (item, None),
        };
        if name == "--" {
            return Err("after it Thanos reads no flags; remove it".to_owned());
        }
        if name.starts_with('@') {
            return Err("Thanos would read arguments from that file; write them here instead".to_owned());
        }
        if !name.starts_with("--") {
            return Err(self.no_flag(item));
        }
        if name.contains(char::is_whitespace)
            && let Some((name, rest)) = item.split_once(char::is_whitespace)
        {
            let value = rest.trim_start_matches(|char: char| char == '=' || char.is_whitespace());
            return Err(format!(
                "there is a space in the name of the flag; write {name}={}",
                arg::short(value)
            ));
        }
        if let Some(value) = value {
            return Ok(Arg::value(name, value));
        }
        if self.flag_or_negated(name).is_some_and(|flag| flag.value == Value::Switch) {
            return Ok(Arg::switch(name));
        }
        if let Some(value) = items.next_if(|next| !next.starts_with(['-', '@'])) {
            return Ok(Arg::value(name, value));
        }
        // `-5m` as an item of its own would be a short flag, but to the user it belongs here.
        match items.next_if(|next| next.starts_with('-') && !next.starts_with("--")) {
            Some(value) => Err(format!("a value that begins with - is read as a flag; write {name}={value}")),
            None => Ok(Arg::switch(name)),
        }
    }

    fn no_flag(self, item: &str) -> String {
        let dashed = format!("--{}", item.trim_start_matches('-'));
        let name = dashed.split_once('=').map_or(dashed.as_str(), |(name, _)| name);
        match self.flag_or_negated(name) {
            Some(_) => format!("is no flag; write {dashed}"),
            None => {
                "is no flag, and belongs to none; write it as --flag=value, --flag or --no-flag".to_owned()
            }
        }
    }

    fn flag_or_negated(self, name: &str) -> Option<&'static KnownFlag> {
        self.program.flag(name).or_else(|| {
            let rest = name.strip_prefix("--no-")?;
            self.program.flag(&format!("--{rest}"))
        })
    }

    /// Whether this release of Thanos takes it; if not, why, and what to do.
    fn check(self, arg: &Arg) -> Result<(), String> {
        let name = arg.name();
        let Some(flag) = self.flag_or_negated(name) else {
            return match self.minor {
                Minor::Any => Ok(()),
                Minor::Is(_) => Err(self.unknown(name)),
            };
        };
        if let Some(why) = flag.reserved {
            return Err(why.to_owned());
        }
        if !self.minor.has(flag.since) {
            let (since, minor) = (flag.since, self.minor);
            return Err(format!(
                "Thanos has it from v0.{since}, and this is {minor}; remove it, or raise the version"
            ));
        }
        if let Some((removed, instead)) = flag.removed
            && self.minor.lacks(removed)
        {
            return Err(format!("removed in v0.{removed} of Thanos; write {instead} instead"));
        }
        let is_negated = flag.name != name;
        match (flag.value, arg.given()) {
            (Value::Switch, None) => Ok(()),
            (Value::Switch, Some(value)) => {
                let is_on = is_negated == matches!(value, "false" | "0" | "no" | "off");
                let write = if is_on { flag.name.to_owned() } else { flag.negated() };
                Err(format!("a switch takes no value; write {write}"))
            }
            (_, value) if is_negated => {
                let value = value.unwrap_or("VALUE");
                Err(format!("only a switch has --no-; write {}={value}", flag.name))
            }
            (_, None) => Err(format!("needs a value; write {name}=VALUE")),
            (kind, Some(value)) => kind.check(value, self.minor),
        }
    }

    fn unknown(self, name: &str) -> String {
        let other = match self.program {
            Program::Query => Program::QueryFrontend,
            Program::QueryFrontend => Program::Query,
        };
        match other.flag(name) {
            Some(_) => format!(
                "is a flag of thanos {}, not of thanos {}; remove it",
                other.name(),
                self.program.name()
            ),
            None => format!("thanos {} has no such flag; remove it", self.program.name()),
        }
    }
}

// === impl Merged ===

impl Merged {
    /// Puts in an argument of the user: where ours was, or at the end.
    fn take(&mut self, arg: Arg, program: Program) {
        let key = arg.key();
        let flag = program.flag(&key);
        let other_half = flag.and_then(KnownFlag::other_half);
        // A flag that is not in the table may be one that can be repeated.
        if flag.is_none_or(|flag| flag.repeatable) {
            if !self.args.iter().any(|there| there.is_same(&arg)) {
                self.args.push(arg);
            }
            return;
        }
        let is_it = |there: &&mut Arg| there.key() == key || Some(there.key()) == other_half;
        let Some(there) = self.args.iter_mut().find(is_it) else {
            self.args.push(arg);
            return;
        };
        if !there.is_same(&arg) {
            let shown = there.shown();
            self.remarks.push(arg.message(match there.field() {
                None => format!("replaces {shown} of the operator"),
                Some(field) if Some(field) == arg.field() => {
                    format!("replaces {shown}, given before it; Thanos takes only one of them")
                }
                Some(field) => format!("replaces {shown} of {field}"),
            }));
        }
        *there = arg;
    }

    /// The value of a flag that is there.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.args.iter().find(|arg| arg.name() == name).and_then(Arg::given)
    }

    /// Takes out every argument of flag `key`, with the reason.
    pub fn refuse(&mut self, key: &str, why: &str) {
        let (out, kept): (Vec<Arg>, _) =
            std::mem::take(&mut self.args).into_iter().partition(|arg| arg.key() == key);
        self.args = kept;
        self.refused.extend(out.iter().map(|arg| arg.message(why)));
    }

    /// As the container of `program` gets it.
    pub fn into_args(self, program: Program) -> ThanosArgs {
        let Self { args, refused, remarks } = self;
        let args =
            std::iter::once(program.name().to_owned()).chain(args.iter().map(ToString::to_string)).collect();
        ThanosArgs { args, refused, remarks }
    }
}

#[cfg(test)]
mod tests;
