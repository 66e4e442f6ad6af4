//! What was measured, as rows with the goals that the project has set itself.

use std::collections::BTreeMap;

use super::{
    agents::AgentFigures,
    log::{Change, Form, Kind, Log},
    operator::Writes,
    rest::Rest,
    site::{VARIANTS, Variant},
    table::{Goal, Row, Unit},
};

/// Everything that was measured.
pub struct Measured {
    /// What was seen.
    pub log: Log,
    /// What was changed.
    pub changes: Vec<Change>,
    /// Pods that were there at the start and not at the end.
    pub replaced: usize,
    /// Restarts of their containers.
    pub restarts: i32,
    /// Writes from before the first change until after the last.
    pub writes: Writes,
    /// What was written without changes.
    pub rest: Rest,
    /// For how long.
    pub rest_seconds: u64,
    /// The operator in MiB, at rest after all changes.
    pub operator_memory: Option<f64>,
    /// What is in the cluster then.
    pub population: String,
    /// The operator in MiB with this many Services more.
    pub crowded: Option<(u32, Option<f64>)>,
    /// Every agent in MiB, after all changes.
    pub agent_memory: Vec<f64>,
    /// What every agent spends on a core without changes, in milliseconds a second.
    pub agent_cpu: Vec<f64>,
    /// Agents without queriers; none when they were left out.
    pub agents_alone: Option<AgentFigures>,
}

// === impl Measured ===

impl Measured {
    /// The result.
    pub fn rows(&self) -> Vec<Row> {
        let zero = Goal::at_most(0.0);
        let count = |what: &str, goal, value: f64| Row::one(what, Unit::Count, goal, Some(value));
        let mut rows = vec![
            count("pods replaced by all these changes", zero, as_f64(self.replaced)),
            count("container restarts", zero, f64::from(self.restarts)),
            self.file(Kind::Added),
            self.file(Kind::Removed),
        ];
        // Kube-proxy takes its time; nobody can be quicker.
        let reachable: Vec<f64> =
            self.changes.iter().filter_map(|change| self.log.reachable(change)).collect();
        let what = "ClusterIP added → takes connections (kube-proxy)";
        rows.push(Row::samples(what, Unit::Seconds, Goal::NONE, &reachable));
        for form in [Form::ClusterIp, Form::Headless] {
            for kind in [Kind::Added, Kind::Removed] {
                rows.extend(VARIANTS.iter().map(|variant| self.queried(variant, form, kind)));
            }
        }
        let changes = as_f64(self.changes.len() * VARIANTS.len());
        let per_change = |kind| as_f64(self.writes.of(kind)) / changes;
        let others = self.writes.total() - self.writes.of("ConfigMap") - self.writes.of("status");
        rows.extend([
            count("ConfigMap writes per change and ThanosQuery", Goal::at_most(1.0), per_change("ConfigMap")),
            count("status writes per change and ThanosQuery", Goal::at_most(2.0), per_change("status")),
            count("other writes during all changes", zero, as_f64(others)),
            count(
                &format!("writes at rest, {} s", self.rest_seconds),
                zero,
                as_f64(self.rest.writes.total()),
            ),
            count(
                &format!("objects changed at rest, of {}", self.rest.objects),
                zero,
                as_f64(self.rest.changed.len()),
            ),
        ]);
        let memory = |what: String, value| Row::one(what, Unit::Mebibytes, Goal::at_most(64.0), value);
        rows.push(memory(format!("operator memory, {}", self.population), self.operator_memory));
        if let Some((services, value)) = self.crowded {
            rows.push(memory(format!("the same, {services} more Services"), value));
        }
        rows.push(Row::samples(
            "agent memory, every pod",
            Unit::Mebibytes,
            Goal::at_most(8.0),
            &self.agent_memory,
        ));
        let what = "agent CPU at rest, every pod";
        rows.push(Row::samples(what, Unit::MillisecondsPerSecond, Goal::at_most(1.0), &self.agent_cpu));
        if let Some(AgentFigures { large, agents, followed }) = &self.agents_alone {
            let what = "agent memory with a 1 MB document";
            rows.push(Row::one(what, Unit::Mebibytes, Goal::at_most(12.0), *large));
            let what = format!("100 KB document written → in the file of {agents} agents");
            rows.push(Row::samples(what, Unit::Seconds, Goal::NONE, followed));
        }
        rows
    }

    /// Where the time until the file goes: in the operator; in the API server and the agent.
    pub fn shares(&self) -> Vec<Row> {
        let deliveries: Vec<_> = self
            .changes
            .iter()
            .flat_map(|change| VARIANTS.iter().filter_map(|variant| self.log.delivery(variant.query, change)))
            .collect();
        let row = |what, samples: Vec<f64>| Row::samples(what, Unit::Seconds, Goal::NONE, &samples);
        vec![
            row("API answer → document planned", deliveries.iter().map(|one| one.planned).collect()),
            row(
                "document planned → file in every pod",
                deliveries.iter().map(|one| one.file - one.planned).collect(),
            ),
        ]
    }

    /// Changes that some pod never showed, one line each.
    pub fn missing(&self) -> Vec<String> {
        let of = |variant: &Variant, change: &Change| {
            let lacks =
                match (self.log.delivery(variant.query, change), self.log.queried(variant.query, change)) {
                    (Some(_), Some(_)) => return None,
                    (None, Some(_)) => "the file",
                    (Some(_), None) => "the list of stores",
                    (None, None) => "the file and the list of stores",
                };
            Some(format!(
                "{}: {:?} {} is not in {lacks} of every pod",
                variant.query, change.kind, change.name
            ))
        };
        let all = self.changes.iter();
        all.flat_map(|change| VARIANTS.iter().filter_map(move |variant| of(variant, change))).collect()
    }

    /// What tells that somebody else wrote endpoints, too.
    pub fn other_writer(&self) -> Option<String> {
        let seen: usize = self.log.documents.values().map(BTreeMap::len).sum();
        // The first of each was there before.
        let (seen, counted) =
            (as_f64(seen.saturating_sub(VARIANTS.len())), as_f64(self.writes.of("ConfigMap")));
        let text = format!("{seen} documents were seen and {counted} counted: is another operator at work?");
        (seen > counted).then_some(text)
    }

    fn file(&self, kind: Kind) -> Row {
        let changes = self.changes.iter().filter(|change| change.kind == kind);
        let samples = changes.flat_map(|change| {
            VARIANTS.iter().filter_map(|variant| self.log.delivery(variant.query, change))
        });
        let samples: Vec<f64> = samples.map(|delivery| delivery.file).collect();
        let what = match kind {
            Kind::Added => "Service added → in the file of every pod",
            Kind::Removed => "Service removed → out of the file of every pod",
        };
        Row::samples(what, Unit::Seconds, Goal::percentiles(Some(0.05), 0.5), &samples)
    }

    fn queried(&self, variant: &Variant, form: Form, kind: Kind) -> Row {
        let changes = self.changes.iter().filter(|change| change.kind == kind && change.form == form);
        let samples: Vec<f64> =
            changes.filter_map(|change| self.log.queried(variant.query, change)).collect();
        let what = match kind {
            Kind::Added => "added → queried by every pod",
            Kind::Removed => "removed → gone from every pod",
        };
        let what = format!("{} {what}, {}", form.title(), variant.title);
        Row::samples(what, Unit::Seconds, goal(variant, form, kind), &samples)
    }
}

/// One tick of Thanos and what comes before it; two ticks where a name is looked up.
fn goal(variant: &Variant, form: Form, kind: Kind) -> Goal {
    let quick = variant.refresh_interval == "1s";
    let p99 = match form {
        Form::ClusterIp if quick => 3.0,
        Form::ClusterIp => 6.5,
        Form::Headless if quick => 4.5,
        Form::Headless => 11.5,
    };
    // Before 0.38 Thanos watches the folder, and a new store need not wait for a tick.
    let at_once = variant.version < "v0.38" && form == Form::ClusterIp && kind == Kind::Added;
    Goal::percentiles(at_once.then_some(0.7), p99)
}

fn as_f64(count: impl TryInto<u32>) -> f64 {
    // Nothing here is counted in billions.
    f64::from(count.try_into().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_those_of_the_design() {
        let goal = |index: usize, form, kind| goal(&VARIANTS[index], form, kind);
        assert_eq!(goal(0, Form::ClusterIp, Kind::Added), Goal::percentiles(None, 6.5));
        assert_eq!(goal(1, Form::ClusterIp, Kind::Added), Goal::percentiles(None, 3.0));
        assert_eq!(goal(2, Form::ClusterIp, Kind::Added), Goal::percentiles(Some(0.7), 6.5));
        assert_eq!(goal(3, Form::Headless, Kind::Added), Goal::percentiles(None, 11.5));
        assert_eq!(goal(1, Form::Headless, Kind::Removed), Goal::percentiles(None, 4.5));
    }
}
