//! Every flag of `thanos query` and `thanos query-frontend` from 0.35 to 0.42: here and nowhere else.
//!
//! Read from the source of each minor release (`cmd/thanos`, `pkg/extkingpin`, kingpin itself) and compared with what
//! the programs answer; see reference "How `thanos query` discovers endpoints", section 1.

mod frontend_flags;
mod query_flags;
pub mod tree_flags;
mod value;

use std::fmt;

use sd_agent::{EndpointType, ThanosVersion};

pub use self::value::{Value, has_variable};

/// The arguments of a Thanos container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThanosArgs {
    /// As the container gets them, the name of the program first.
    pub args: Vec<String>,
    /// What is not used, each beginning with its field and with the reason.
    pub refused: Vec<String>,
    /// What works, but not as it seems; each begins with its field.
    pub remarks: Vec<String>,
}

/// A program of Thanos that the operator runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `thanos query`.
    Query,
    /// `thanos query-frontend`.
    QueryFrontend,
}

/// A release as far as its flags are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minor {
    /// Its minor number, of those in the table.
    Is(u32),
    /// Unknown, or newer than the table: it may have any flag.
    Any,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFlag {
    /// With its dashes.
    pub name: &'static str,
    /// What it takes.
    pub value: Value,
    /// Whether it may be there more than once; if not, a second one ends Thanos.
    pub repeatable: bool,
    /// First minor release that has it; 0 for all.
    pub since: u32,
    /// First minor release that no longer has it, and the flag to use there.
    pub removed: Option<(u32, &'static str)>,
    /// Why a user cannot set it.
    pub reserved: Option<&'static str>,
}

/// The newest minor release in the table.
const NEWEST: u32 = 42;

const TLS_VERSIONS: Value = Value::OneOf(&[("1.0", 0), ("1.1", 0), ("1.2", 0), ("1.3", 0)]);
const TENANT_CERTIFICATE_FIELDS: Value =
    Value::OneOf(&[("organization", 0), ("organizationalUnit", 0), ("commonName", 0), ("", 0)]);

const ENDS: &str = "Thanos would print something and end; remove it";

/// What both programs have.
const COMMON: &[KnownFlag] = &[
    flag("--debug.name", Value::Text),
    flag("--log.level", Value::OneOf(&[("error", 0), ("warn", 0), ("info", 0), ("debug", 0)])),
    flag("--log.format", Value::OneOf(&[("logfmt", 0), ("json", 0), ("journald", 42)])),
    flag("--tracing.config-file", Value::File),
    flag("--tracing.config", Value::Content),
    flag("--enable-auto-gomemlimit", Value::Switch),
    flag("--auto-gomemlimit.ratio", Value::Ratio),
    flag("--http-address", Value::Listen),
    flag("--http-grace-period", Value::PrometheusDuration),
    flag("--http.config", Value::Text),
    flag("--web.disable-cors", Value::Switch),
    flag("--request.logging-config-file", Value::File),
    flag("--request.logging-config", Value::Content),
    flag("--help", Value::Switch).reserved(ENDS),
    flag("--help-long", Value::Switch).reserved(ENDS),
    flag("--help-man", Value::Switch).reserved(ENDS),
    flag("--version", Value::Switch).reserved(ENDS),
    flag("--completion-bash", Value::Switch).reserved(ENDS),
    flag("--completion-script-bash", Value::Switch).reserved(ENDS),
    flag("--completion-script-zsh", Value::Switch).reserved(ENDS),
];

/// The flag of an endpoint type.
pub fn endpoint_flag(endpoint_type: EndpointType) -> &'static str {
    match endpoint_type {
        EndpointType::Regular => "--endpoint",
        EndpointType::Strict => "--endpoint-strict",
        EndpointType::Group => "--endpoint-group",
        EndpointType::GroupStrict => "--endpoint-group-strict",
    }
}

/// Whether an argument, written `--name=value`, names an endpoint.
pub fn names_endpoint(arg: &str) -> bool {
    const TYPES: [EndpointType; 4] =
        [EndpointType::Regular, EndpointType::Strict, EndpointType::Group, EndpointType::GroupStrict];
    arg.split_once('=').is_some_and(|(name, _)| TYPES.map(endpoint_flag).contains(&name))
}

const fn flag(name: &'static str, value: Value) -> KnownFlag {
    KnownFlag { name, value, repeatable: false, since: 0, removed: None, reserved: None }
}

// === impl KnownFlag ===

impl KnownFlag {
    const fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }

    const fn since(self, since: u32) -> Self {
        Self { since, ..self }
    }

    const fn removed(self, minor: u32, instead: &'static str) -> Self {
        Self { removed: Some((minor, instead)), ..self }
    }

    const fn reserved(self, why: &'static str) -> Self {
        Self { reserved: Some(why), ..self }
    }

    /// What switches it off.
    pub fn negated(&self) -> String {
        format!("--no-{}", self.name.trim_start_matches('-'))
    }

    /// The flag that excludes it: a file and its content cannot both be given.
    pub fn other_half(&self) -> Option<String> {
        match self.value {
            Value::File => self.name.strip_suffix("-file").map(ToOwned::to_owned),
            Value::Content => Some(format!("{}-file", self.name)),
            _ => None,
        }
    }
}

// === impl Program ===

impl Program {
    /// As it is written after `thanos`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::QueryFrontend => "query-frontend",
        }
    }

    /// Every flag of every release.
    pub fn flags(self) -> impl Iterator<Item = &'static KnownFlag> {
        let own = match self {
            Self::Query => query_flags::QUERY,
            Self::QueryFrontend => frontend_flags::QUERY_FRONTEND,
        };
        COMMON.iter().chain(own)
    }

    /// The flag that is written `name`, with dashes.
    pub fn flag(self, name: &str) -> Option<&'static KnownFlag> {
        self.flags().find(|flag| flag.name == name)
    }
}

// === impl Minor ===

impl Minor {
    /// Whether it has what came with the minor release `since`.
    pub fn has(self, since: u32) -> bool {
        match self {
            Self::Is(minor) => minor >= since,
            Self::Any => true,
        }
    }

    /// Whether it lacks what went with the minor release `removed`.
    pub fn lacks(self, removed: u32) -> bool {
        matches!(self, Self::Is(minor) if minor >= removed)
    }
}

impl From<ThanosVersion> for Minor {
    fn from(version: ThanosVersion) -> Self {
        match version {
            ThanosVersion::Known(release) if release.major == 0 && release.minor <= NEWEST => {
                Self::Is(release.minor)
            }
            ThanosVersion::Known(_) | ThanosVersion::Unknown => Self::Any,
        }
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(minor) => write!(f, "v0.{minor}"),
            Self::Any => f.write_str("an unknown release"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PROGRAMS: [Program; 2] = [Program::Query, Program::QueryFrontend];

    #[test]
    fn a_flag_is_there_once_and_has_dashes() {
        for program in PROGRAMS {
            let names: Vec<&str> = program.flags().map(|flag| flag.name).collect();
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
            assert!(names.iter().all(|name| name.starts_with("--") && !name.starts_with("--no-")));
        }
    }

    #[test]
    fn every_half_of_a_pair_has_its_other_half() {
        for program in PROGRAMS {
            for flag in program.flags().filter(|flag| matches!(flag.value, Value::File | Value::Content)) {
                let other = flag.other_half().and_then(|name| program.flag(&name)).expect(flag.name);
                assert_eq!(other.other_half().as_deref(), Some(flag.name));
                assert_eq!((other.since, other.reserved), (flag.since, flag.reserved));
            }
        }
    }

    #[test]
    fn the_number_of_flags_of_each_release_is_that_of_its_source() {
        let count = |program: Program, minor| {
            let minor = Minor::Is(minor);
            let has = |flag: &&KnownFlag| {
                minor.has(flag.since) && !flag.removed.is_some_and(|(removed, _)| minor.lacks(removed))
            };
            program.flags().filter(has).count()
        };
        let counts = |program| [35, 36, 37, 38, 39, 40, 41, 42].map(|minor| count(program, minor));
        assert_eq!(counts(Program::Query), [90, 90, 92, 91, 93, 94, 95, 98]);
        assert_eq!(counts(Program::QueryFrontend), [54, 55, 56, 56, 57, 57, 57, 58]);
    }

    #[test]
    fn releases_newer_than_the_table_may_have_any_flag() {
        assert_eq!(Minor::from(ThanosVersion::new(0, 42, 9)), Minor::Is(42));
        assert_eq!(Minor::from(ThanosVersion::new(0, 43, 0)), Minor::Any);
        assert_eq!(Minor::from(ThanosVersion::new(1, 0, 0)), Minor::Any);
        assert_eq!(Minor::from(ThanosVersion::Unknown), Minor::Any);
    }
}
