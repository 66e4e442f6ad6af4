//! Pure: what the agents answered, how many pods have the endpoints, and what hinders the others.
//!
//! A pod that cannot be asked is unknown and blocks nothing.

use std::collections::BTreeMap;

use sd_agent::{
    DnsFailing, Report,
    report::{Applied, CannotWrite, MAX_FAILING, MAX_UNREACHABLE, Refused},
};

use crate::plan::DocumentId;

/// What is kept of the words of one pod, in characters.
const LONGEST: usize = 300;

/// Where an agent does not know what the operator writes.
const TOO_OLD: &str = "its agent is older than the operator and does not know how to write them; remove \
                       spec.serviceDiscovery.agent.image, or set an image that is as new as the operator";

/// What the pods of one ThanosQuery answered last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentAnswers {
    pub(super) pods: BTreeMap<String, Answer>,
    pub(super) wanted: Option<DocumentId>,
    /// Whether there may be news without a change: of names that are looked up, and of certificates.
    pub(super) may_change: bool,
    pub(super) asked: bool,
}

/// The answer of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) document: Has,
    trouble: Option<Trouble>,
    failing: Vec<DnsFailing>,
    /// What its Thanos does not reach; none when nobody can tell.
    unreachable: Option<Vec<String>>,
}

/// The document of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Has {
    /// Its agent may be too old for some of the endpoints.
    Document {
        generation: u64,
        sha256: String,
        too_new: usize,
    },
    Nothing,
    Unknown(Silence),
}

/// Why a pod is not known to have anything. Not more than this: the words of a broken connection differ each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    NoAddress,
    NoAnswer,
    Nonsense,
}

/// What an agent says that hinders it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    why: Why,
    /// For people.
    said: String,
}

/// Why a pod is not known to have the whole document; the first of them is the one to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It cannot write its file.
    CannotWrite,
    /// It does not take the document.
    Refused,
    /// It cannot read the ConfigMap.
    CannotRead,
    /// Its agent is too old for some of the endpoints.
    TooOld,
    /// It has not come to it yet, or does not say why.
    Behind,
    /// It did not answer.
    Silent,
}

/// A pod that is not known to have the whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag<'a> {
    /// Its name.
    pub pod: &'a str,
    /// Why.
    pub why: Why,
    /// What it said, as the end of a sentence that begins with its name.
    pub said: String,
}

/// Pods by what they have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub pods: usize,
    /// Have the document, and every endpoint of it.
    pub synced: usize,
    /// Have another one, or not all of it.
    pub behind: usize,
    /// Did not answer.
    pub silent: usize,
}

// === impl AgentAnswers ===

impl AgentAnswers {
    /// Counts the pods that have all of `document`.
    pub fn tally(&self, document: &DocumentId) -> Tally {
        let mut tally = Tally { pods: self.pods.len(), ..Tally::default() };
        for answer in self.pods.values() {
            match &answer.document {
                has if has.all_of(document) => tally.synced += 1,
                Has::Document { .. } | Has::Nothing => tally.behind += 1,
                Has::Unknown(_) => tally.silent += 1,
            }
        }
        tally
    }

    /// The pods that are not known to have all of `document`: those that can say what hinders them first, then by name.
    pub fn lagging(&self, document: &DocumentId) -> Vec<Lag<'_>> {
        let lagging = self.pods.iter().filter(|(_, answer)| !answer.document.all_of(document));
        let mut lagging: Vec<Lag<'_>> = lagging
            .map(|(pod, answer)| {
                let (why, said) = answer.lag(document);
                Lag { pod, why, said }
            })
            .collect();
        lagging.sort_by(|a, b| (a.why, a.pod).cmp(&(b.why, b.pod)));
        lagging
    }

    /// Whether the pods were asked at all since the operator started.
    pub fn are_known(&self) -> bool {
        self.asked
    }

    /// How many pods there are.
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// For each pod, which look-ups fail.
    pub fn failing(&self) -> impl Iterator<Item = &[DnsFailing]> {
        self.pods.values().map(|answer| &answer.failing[..])
    }

    /// What is not reached, for each pod that can tell.
    pub fn unreachable(&self) -> impl Iterator<Item = &[String]> {
        self.pods.values().filter_map(|answer| answer.unreachable.as_deref())
    }

    /// Whether there is nothing to ask until somebody says so.
    pub(super) fn is_over(&self) -> bool {
        let is_unreached = || self.unreachable().any(|all| !all.is_empty());
        self.wanted.is_none() || self.is_complete() && !self.may_change && !is_unreached()
    }

    /// An agent that is too old for some endpoints has what it can have: another one comes with another pod.
    pub(super) fn is_complete(&self) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| {
            !self.pods.is_empty() && self.pods.values().all(|answer| answer.document.is(wanted))
        })
    }
}

// === impl Has ===

impl Has {
    /// Whether it is `document`, or a later write of it.
    fn is(&self, document: &DocumentId) -> bool {
        match self {
            Self::Document { generation, sha256, too_new: _ } => {
                *generation >= document.generation && *sha256 == document.sha256
            }
            Self::Nothing | Self::Unknown(_) => false,
        }
    }

    /// Whether it is, and no endpoint is left out.
    fn all_of(&self, document: &DocumentId) -> bool {
        self.is(document) && !matches!(self, Self::Document { too_new: 1.., .. })
    }
}

// === impl Answer ===

impl Answer {
    pub(super) fn silent(silence: Silence) -> Self {
        Self { document: Has::Unknown(silence), trouble: None, failing: vec![], unreachable: None }
    }

    /// Of an agent that said this.
    pub(super) fn of(report: Report) -> Self {
        let trouble = Trouble::of(&report);
        let Report { applied, mut dns_failing, thanos, .. } = report;
        let unreachable = thanos.and_then(|thanos| thanos.unreachable).map(|mut all| {
            all.truncate(MAX_UNREACHABLE);
            all
        });
        let document = applied.map_or(Has::Nothing, |Applied { generation, sha256, too_new, .. }| {
            Has::Document { generation, sha256, too_new }
        });
        dns_failing.truncate(MAX_FAILING);
        Self { document, trouble, failing: dns_failing, unreachable }
    }

    /// Why it has another document than `wanted`, or not all of it; and in words.
    fn lag(&self, wanted: &DocumentId) -> (Why, String) {
        let silent = |said: &str| (Why::Silent, said.to_owned());
        let has = match &self.document {
            Has::Unknown(Silence::NoAddress) => return silent("has no address yet"),
            Has::Unknown(Silence::NoAnswer) => return silent("did not answer"),
            Has::Unknown(Silence::Nonsense) => return silent("answers what is no report of an agent"),
            Has::Document { generation, too_new: too_new @ 1.., .. } if self.document.is(wanted) => {
                let said =
                    format!("has generation {generation} without {too_new} of its endpoints: {TOO_OLD}");
                return (Why::TooOld, said);
            }
            Has::Document { generation, .. } => format!("has generation {generation}"),
            Has::Nothing => "has no document yet".to_owned(),
        };
        match &self.trouble {
            Some(Trouble { why, said }) => (*why, format!("{has} and {said}")),
            None => (Why::Behind, has),
        }
    }
}

// === impl Trouble ===

impl Trouble {
    /// What of a report hinders its agent; none when nothing does.
    fn of(report: &Report) -> Option<Self> {
        let trouble = |why, said: String| Some(Self { why, said: plain(&said) });
        if let Some(CannotWrite { step, message }) = &report.cannot_write {
            return trouble(Why::CannotWrite, format!("cannot write its file ({step}): {message}"));
        }
        if let Some(Refused { reason, message, source, .. }) = &report.refused {
            let said = format!("refused the document from the {source} ({reason}): {message}");
            return trouble(Why::Refused, said);
        }
        let sources = [("the API", &report.api), ("its mount", &report.mount)];
        let errors = sources.into_iter().filter(|(_, source)| !source.up);
        let errors = errors.filter_map(|(name, source)| Some(format!("{name}: {}", source.error.as_ref()?)));
        let errors: Vec<String> = errors.collect();
        (!errors.is_empty())
            .then(|| trouble(Why::CannotRead, format!("cannot read {}", errors.join("; "))))
            .flatten()
    }
}

/// It comes from a pod, and shall fit into a condition with others.
fn plain(said: &str) -> String {
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use sd_agent::report::SourceReport;

    use super::*;

    impl AgentAnswers {
        /// Of pods that were asked, with what fails in each.
        pub fn of_failing(pods: Vec<Vec<DnsFailing>>) -> Self {
            let answer =
                |failing| Answer { document: Has::Nothing, trouble: None, failing, unreachable: None };
            let pods =
                pods.into_iter().enumerate().map(|(index, failing)| (format!("{index}"), answer(failing)));
            Self { pods: pods.collect(), wanted: None, may_change: true, asked: true }
        }
    }

    impl AgentAnswers {
        /// Of pods that were asked, with what each does not reach.
        pub fn of_unreachable(pods: Vec<Option<Vec<String>>>) -> Self {
            let answer = |unreachable| Answer { unreachable, ..Answer::silent(Silence::NoAnswer) };
            let pods = pods.into_iter().enumerate().map(|(index, own)| (format!("{index}"), answer(own)));
            Self { pods: pods.collect(), wanted: None, may_change: true, asked: true }
        }
    }

    fn answers(pods: &[(&str, Has)], wanted: &DocumentId) -> AgentAnswers {
        let answer = |document: &Has| Answer {
            document: document.clone(),
            trouble: None,
            failing: vec![],
            unreachable: None,
        };
        let pods = pods.iter().map(|(name, document)| ((*name).to_owned(), answer(document)));
        AgentAnswers { pods: pods.collect(), wanted: Some(wanted.clone()), may_change: false, asked: true }
    }

    fn has(generation: u64, sha256: &str) -> Has {
        Has::Document { generation, sha256: sha256.into(), too_new: 0 }
    }

    #[test]
    fn pods_are_counted_by_what_they_have() {
        let document = DocumentId { generation: 7, sha256: "new".into() };
        let pods = [
            ("a", has(7, "new")),
            ("b", has(6, "old")),
            ("c", has(7, "other")),
            ("d", Has::Nothing),
            ("e", Has::Unknown(Silence::NoAnswer)),
        ];
        let answers = answers(&pods, &document);
        assert_eq!(answers.tally(&document), Tally { pods: 5, synced: 1, behind: 3, silent: 1 });
        assert!(!answers.is_complete());
    }

    #[test]
    fn pods_that_lag_say_why_and_those_with_a_reason_of_their_own_come_first() {
        let document = DocumentId { generation: 7, sha256: "new".into() };
        let pods = [
            ("a", Has::Unknown(Silence::NoAnswer)),
            ("b", has(6, "old")),
            ("c", has(6, "old")),
            ("d", has(7, "new")),
            ("e", Has::Nothing),
            ("f", Has::Unknown(Silence::NoAddress)),
        ];
        let mut answers = answers(&pods, &document);
        let trouble = |why, said: &str| Some(Trouble { why, said: said.to_owned() });
        let mut set = |pod: &str, trouble| answers.pods.get_mut(pod).expect("a pod").trouble = trouble;
        set("c", trouble(Why::CannotWrite, "cannot write"));
        // It has what it shall, so nothing of this matters now.
        set("d", trouble(Why::Refused, "refused"));
        set("e", trouble(Why::CannotRead, "cannot read"));
        let told: Vec<String> =
            answers.lagging(&document).iter().map(|Lag { pod, said, .. }| format!("{pod} {said}")).collect();
        assert_eq!(
            told,
            [
                "c has generation 6 and cannot write",
                "e has no document yet and cannot read",
                "b has generation 6",
                "a did not answer",
                "f has no address yet",
            ]
        );
    }

    #[test]
    fn an_agent_that_is_too_old_for_some_endpoints_is_behind_and_says_what_to_do_and_is_not_asked_for_ever() {
        let document = DocumentId { generation: 7, sha256: "new".into() };
        let too_old = Has::Document { generation: 7, sha256: "new".into(), too_new: 2 };
        let answers = answers(&[("a", has(7, "new")), ("b", too_old)], &document);
        assert_eq!(answers.tally(&document), Tally { pods: 2, synced: 1, behind: 1, silent: 0 });
        assert!(answers.is_over());
        let lagging = answers.lagging(&document);
        let [Lag { pod: "b", why: Why::TooOld, said }] = &lagging[..] else { panic!("{lagging:?}") };
        assert!(said.starts_with("has generation 7 without 2 of its endpoints"), "{said}");
        assert!(said.contains("spec.serviceDiscovery.agent.image"), "{said}");
        // Of the document before, that is not the news.
        let next = DocumentId { generation: 8, sha256: "next".into() };
        assert!(answers.lagging(&next).iter().all(|lag| lag.why == Why::Behind));
    }

    #[test]
    fn what_hinders_an_agent_is_read_from_its_report_and_kept_short() {
        let said = |report: &Report| Trouble::of(report).map(|own| (own.why, own.said));
        let mut report = Report::default();
        // A source that is not used is not up, and nothing is wrong with it.
        assert_eq!(said(&report), None);
        report.api.error = Some("forbidden".into());
        report.mount.error = Some("empty".into());
        let text = "cannot read the API: forbidden; its mount: empty".to_owned();
        assert_eq!(said(&report), Some((Why::CannotRead, text)));
        report.mount = SourceReport { up: true, ..SourceReport::default() };
        assert_eq!(said(&report), Some((Why::CannotRead, "cannot read the API: forbidden".to_owned())));
        report.refused = Some(Refused {
            reason: "size".into(),
            message: "x".repeat(1000),
            source: "api".into(),
            at: jiff::Timestamp::UNIX_EPOCH,
        });
        let (why, text) = said(&report).expect("refused");
        assert_eq!((why, text.chars().count()), (Why::Refused, LONGEST));
        let (step, message) = ("write".to_owned(), "disk\nfull".to_owned());
        report.cannot_write = Some(CannotWrite { step, message });
        let text = "cannot write its file (write): disk full".to_owned();
        assert_eq!(said(&report), Some((Why::CannotWrite, text)));
    }

    #[test]
    fn asking_is_over_when_every_pod_has_the_document_and_nothing_is_looked_up() {
        let document = DocumentId { generation: 7, sha256: "new".into() };
        let mut answers = answers(&[("a", has(7, "new"))], &document);
        assert!(answers.is_over());
        answers.may_change = true;
        assert!(!answers.is_over());
        answers.wanted = None;
        assert!(answers.is_over());
        let behind = AgentAnswers { wanted: Some(DocumentId { generation: 8, ..document }), ..answers };
        assert!(!behind.is_over());
    }
}
