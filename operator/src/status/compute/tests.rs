use k8s_openapi::api::apps::v1::Deployment;

use super::*;
use crate::{
    apply::{DefaultsWait, RolloutHeld},
    discovery::Reason,
    plan::{Endpoints, HeldRemoval},
};

fn query() -> ThanosQuery {
    serde_saphyr::from_str(
        "{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {name: global, generation: 3}, spec: {replicas: 2}}",
    )
    .expect("a ThanosQuery")
}

fn deployment(status: &str) -> Deployment {
    serde_saphyr::from_str(&format!(
        "{{metadata: {{generation: 5}}, spec: {{replicas: 2, selector: {{}}, template: {{}}}}, status: {{{status}}}}}"
    ))
    .expect("a Deployment")
}

const COMPLETE: &str =
    "observedGeneration: 5, replicas: 2, updatedReplicas: 2, availableReplicas: 2, readyReplicas: 2";

fn summary() -> Summary {
    Summary::of_tests(Endpoints::default())
}

fn done(
    old: &ThanosQueryStatus,
    summary: &Summary,
    discovery: &Discovery,
    queriers: Option<&Deployment>,
) -> ThanosQueryStatus {
    let deployments = Deployments { queriers: queriers.cloned(), frontend: None };
    with_waits(old, summary, discovery, &deployments, &Waits::default(), &[])
}

fn with_waits(
    old: &ThanosQueryStatus,
    summary: &Summary,
    discovery: &Discovery,
    deployments: &Deployments,
    waits: &Waits,
    refusals: &[String],
) -> ThanosQueryStatus {
    let progress = Progress::Done {
        discovery,
        summary,
        deployments,
        foreign: &[],
        waits,
        refusals,
        lacks_service_monitors: false,
    };
    compute(&Findings {
        query: &query(),
        old,
        progress,
        rollout: None,
        agents: &AgentAnswers::default(),
        now: Timestamp::UNIX_EPOCH,
    })
}

fn refused(reason: &'static str, message: &str) -> Progress<'static> {
    Progress::Refused { reason, message: message.to_owned() }
}

fn condition<'a>(status: &'a ThanosQueryStatus, type_: &str) -> Option<(&'a str, &'a str)> {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((&found.status, &found.reason))
}

#[test]
fn a_removal_that_is_held_is_told_until_it_is_over_also_while_the_spec_is_refused() {
    let names = (0..25).map(|number| format!("demo/s{number:02}").parse().expect("a name"));
    let held = HeldRemoval { number: 17, services: names.collect(), until: Timestamp::UNIX_EPOCH };
    let holding = Summary { held: Some(held), ..summary() };
    let status = done(&ThanosQueryStatus::default(), &holding, &Discovery::default(), None);
    let told = status.held_removal.clone().expect("told");
    assert_eq!((told.generation, told.count, told.services.len()), (17, 25, SHOWN));
    assert_eq!(told.services[0], "demo/s00");
    let message = |status: &ThanosQueryStatus| {
        let mut all = status.conditions.iter().filter(|own| own.type_ == conditions::REMOVAL_HELD);
        all.next().map(|own| own.message.clone())
    };
    let text = message(&status).expect("the condition");
    for words in [
        "25 Services are gone",
        "demo/s00, demo/s01, demo/s02, 22 more",
        "until 1970-01-01T00:00:00Z",
        "operator.thanos.io/accept-removal=17",
        "give the Services back",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }

    let refused = compute(&Findings {
        query: &query(),
        old: &status,
        progress: refused(reasons::INVALID_FIELD, "no"),
        rollout: None,
        agents: &AgentAnswers::default(),
        now: Timestamp::UNIX_EPOCH,
    });
    assert_eq!((message(&refused), &refused.held_removal), (Some(text), &status.held_removal));
    let over = done(&refused, &summary(), &Discovery::default(), None);
    assert_eq!((message(&over), over.held_removal), (None, None));
}

#[test]
fn a_rolled_out_deployment_is_ready_and_a_half_done_one_is_not() {
    let none = ThanosQueryStatus::default();
    let with = |status: &str| {
        let status = done(&none, &summary(), &Discovery::default(), Some(&deployment(status)));
        let (verdict, reason) = condition(&status, "Ready").expect("Ready");
        format!("{verdict} {reason}")
    };
    assert_eq!(with(COMPLETE), "True Available");
    assert_eq!(
        with(&COMPLETE.replace("observedGeneration: 5", "observedGeneration: 4")),
        "False Progressing"
    );
    assert_eq!(with(&COMPLETE.replace("updatedReplicas: 2", "updatedReplicas: 1")), "False Progressing");
    assert_eq!(with(&COMPLETE.replace("replicas: 2, updated", "replicas: 3, updated")), "False Progressing");
    let stuck = "observedGeneration: 5, conditions: [{type: Progressing, status: 'False', message: stuck}]";
    assert_eq!(with(stuck), "False ProgressDeadlineExceeded");
}

#[test]
fn without_a_deployment_it_is_not_ready_but_being_made() {
    let status = done(&ThanosQueryStatus::default(), &summary(), &Discovery::default(), None);
    assert_eq!(condition(&status, "Ready"), Some(("False", "Creating")));
}

#[test]
fn what_was_known_of_the_pods_stays_until_they_are_asked_again() {
    let mut old =
        done(&ThanosQueryStatus::default(), &summary(), &Discovery::default(), Some(&deployment(COMPLETE)));
    old.synced = Some("2/2".to_owned());
    let again = done(&old, &summary(), &Discovery::default(), Some(&deployment(COMPLETE)));
    assert_eq!(again, old, "a restart of the operator changes no status");
}

#[test]
fn warnings_come_and_go_by_name() {
    let rejected = Rejected {
        namespace: "demo".into(),
        service: "bad".into(),
        reason: Reason::NoPort { wanted: "grpc".into(), found: vec![] },
    };
    let discovery = Discovery { rejected: vec![rejected], ..Discovery::default() };
    let unknown = Summary {
        version: ThanosVersion::Unknown,
        problems: vec!["--x: no".into()],
        flaws: vec!["spec.version: use a newer one".into()],
        ..summary()
    };
    let status = done(&ThanosQueryStatus::default(), &unknown, &discovery, None);
    for warning in ["ServicesRejected", "VersionUnknown", "VersionFlawed", "Invalid"] {
        assert_eq!(condition(&status, warning).expect(warning).0, "True");
    }
    assert_eq!(status.rejected[0].name, "bad");
    let mended = done(&status, &summary(), &Discovery::default(), None);
    for warning in ["ServicesRejected", "VersionUnknown", "VersionFlawed", "Invalid"] {
        assert_eq!(condition(&mended, warning), None);
    }
    assert!(mended.rejected.is_empty());
}

#[test]
fn at_most_twenty_rejected_services_are_listed_and_all_are_counted() {
    let rejected = |index: usize| Rejected {
        namespace: "demo".into(),
        service: format!("s{index:03}"),
        reason: Reason::NoExternalName,
    };
    let discovery = Discovery { rejected: (0..50).map(rejected).collect(), ..Discovery::default() };
    let status = done(&ThanosQueryStatus::default(), &summary(), &discovery, None);
    assert_eq!(status.rejected.len(), 20);
    assert_eq!(status.endpoints.expect("counts").rejected, 50);
}

#[test]
fn paused_objects_keep_what_was_said_of_their_pods_and_refused_ones_are_not_ready() {
    let old =
        done(&ThanosQueryStatus::default(), &summary(), &Discovery::default(), Some(&deployment(COMPLETE)));
    let with = |progress| {
        compute(&Findings {
            query: &query(),
            old: &old,
            progress,
            rollout: None,
            agents: &AgentAnswers::default(),
            now: Timestamp::UNIX_EPOCH,
        })
    };
    let paused = with(Progress::Paused);
    assert_eq!(condition(&paused, "Paused"), Some(("True", "Paused")));
    assert_eq!(condition(&paused, "Ready"), Some(("True", "Available")));
    let refused = with(refused(reasons::INVALID_FIELD, "spec.version: too old"));
    assert_eq!(condition(&refused, "Invalid"), Some(("True", "InvalidField")));
    assert_eq!(condition(&refused, "Ready"), Some(("False", "InvalidField")));
    assert_eq!(condition(&refused, "Stalled"), Some(("True", "InvalidField")));
    assert_eq!(refused.document, old.document);
}

#[test]
fn in_flags_mode_there_is_nothing_to_sync() {
    let flags = Summary { delivery: Delivery::Flags, document: None, ..summary() };
    let status = done(&ThanosQueryStatus::default(), &flags, &Discovery::default(), None);
    assert_eq!(condition(&status, "EndpointsSynced"), Some(("True", "EndpointsAreFlags")));
    assert_eq!(status.synced, None);
    assert_eq!(status.document, None);
}

#[test]
fn ready_is_not_told_of_pods_that_are_not_yet_what_is_wanted() {
    let none = ThanosQueryStatus::default();
    let pods = Deployments { queriers: Some(deployment(COMPLETE)), frontend: None };
    let with = |waits: Waits, refusals: &[String]| {
        let status = with_waits(&none, &summary(), &Discovery::default(), &pods, &waits, refusals);
        let (verdict, reason) = condition(&status, "Ready").expect("Ready");
        format!("{verdict} {reason} {}", condition(&status, "Stalled").is_some())
    };
    assert_eq!(with(Waits::default(), &[]), "True Available false");
    let settling = Waits { pending: vec!["endpoints still change".into()], ..Waits::default() };
    assert_eq!(with(settling, &[]), "False Pending false");
    let reverted = Waits { foreign_writer: Some("argocd".into()), ..Waits::default() };
    assert_eq!(with(reverted, &[]), "False RevertedBySomebodyElse true");
    assert_eq!(with(Waits::default(), &["Deployment x: no".into()]), "False ApplyFailed true");
    let held = RolloutHeld { rollouts: 5, until: Timestamp::UNIX_EPOCH };
    let held = Waits { pending: vec!["held".into()], rollout_held: Some(held), ..Waits::default() };
    assert_eq!(with(held, &[]), "False Pending false");
    // What nobody asked for may wait.
    let wait = DefaultsWait { deployment: "x".into(), hash: "h".into(), by_hand: true };
    let defaults = Waits { defaults: vec![wait], ..Waits::default() };
    assert_eq!(with(defaults, &[]), "True Available false");
}

#[test]
fn rollouts_that_are_held_are_told_with_their_number_the_time_and_a_remedy() {
    let held = RolloutHeld { rollouts: 5, until: Timestamp::from_second(601).expect("a time") };
    let waits = Waits { rollout_held: Some(held), ..Waits::default() };
    let (none, discovery) = (ThanosQueryStatus::default(), Discovery::default());
    let status = with_waits(&none, &summary(), &discovery, &Deployments::default(), &waits, &[]);
    assert_eq!(condition(&status, "RolloutHeld"), Some(("True", "OverTheLimit")));
    let told = status.conditions.iter().find(|own| own.type_ == "RolloutHeld").expect("told");
    for piece in ["5 times", "again at 1970-01-01T00:10:01Z", "spec"] {
        assert!(told.message.contains(piece), "{}", told.message);
    }
    let over = with_waits(&status, &summary(), &discovery, &Deployments::default(), &Waits::default(), &[]);
    assert_eq!(condition(&over, "RolloutHeld"), None);
}

#[test]
fn a_frontend_counts_for_ready_and_its_numbers_go_with_it() {
    let mut asks = query();
    asks.spec.query_frontend = Some(serde_saphyr::from_str("{}").expect("a frontend"));
    let summary = summary();
    let discovery = Discovery::default();
    let with = |query: &ThanosQuery, old: &ThanosQueryStatus, frontend: Option<Deployment>| {
        let deployments = Deployments { queriers: Some(deployment(COMPLETE)), frontend };
        compute(&Findings {
            query,
            old,
            progress: Progress::Done {
                discovery: &discovery,
                summary: &summary,
                deployments: &deployments,
                foreign: &[],
                waits: &Waits::default(),
                refusals: &[],
                lacks_service_monitors: false,
            },
            rollout: None,
            agents: &AgentAnswers::default(),
            now: Timestamp::UNIX_EPOCH,
        })
    };
    let none = ThanosQueryStatus::default();
    assert_eq!(condition(&with(&asks, &none, None), "Ready"), Some(("False", "Creating")));
    let starting = deployment("observedGeneration: 5, replicas: 2");
    assert_eq!(condition(&with(&asks, &none, Some(starting)), "Ready"), Some(("False", "Progressing")));
    let both = with(&asks, &none, Some(deployment(COMPLETE)));
    assert_eq!(condition(&both, "Ready"), Some(("True", "Available")));
    assert_eq!(both.query_frontend_status.as_ref().map(|pods| pods.ready_replicas), Some(2));
    assert_eq!(with(&query(), &both, None).query_frontend_status, None);
}

#[test]
fn paused_for_another_operator_is_told_as_that_one_tells_it() {
    let mut taken = query();
    taken.spec.paused = Some(true);
    let deployments = Deployments { queriers: Some(deployment(COMPLETE)), frontend: None };
    let status = compute(&Findings {
        query: &taken,
        old: &ThanosQueryStatus::default(),
        progress: Progress::Done {
            discovery: &Discovery::default(),
            summary: &summary(),
            deployments: &deployments,
            foreign: &[],
            waits: &Waits::default(),
            refusals: &[],
            lacks_service_monitors: true,
        },
        rollout: None,
        agents: &AgentAnswers::default(),
        now: Timestamp::UNIX_EPOCH,
    });
    assert_eq!(condition(&status, "Paused"), Some(("True", "TakenOver")));
    assert_eq!(condition(&status, "Ready"), Some(("True", "Available")));
    assert_eq!(condition(&status, "ServiceMonitorMissing"), Some(("True", "KindNotInstalled")));
}

#[test]
fn of_many_pods_that_lag_three_are_named_and_the_others_counted() {
    let waits = Waits::default();
    let status = compute(&Findings {
        query: &query(),
        old: &ThanosQueryStatus::default(),
        progress: Progress::Done {
            discovery: &Discovery::default(),
            summary: &summary(),
            deployments: &Deployments::default(),
            foreign: &[],
            waits: &waits,
            refusals: &[],
            lacks_service_monitors: false,
        },
        rollout: None,
        agents: &AgentAnswers::of_failing(vec![vec![]; 5]),
        now: Timestamp::UNIX_EPOCH,
    });
    let told = status.conditions.iter().find(|own| own.type_ == conditions::ENDPOINTS_SYNCED).expect("told");
    assert_eq!(
        told.message,
        "0 of 5 pods have generation 7; 0 has no document yet; 1 has no document yet; 2 has no document yet; and 2 more"
    );
    assert_eq!((told.status.as_str(), told.reason.as_str()), ("False", reasons::SYNCING));
    assert_eq!(status.synced.as_deref(), Some("0/5"));
}

#[test]
fn endpoints_that_do_not_fit_and_a_cluster_that_is_too_old_are_no_fault_of_the_spec() {
    for reason in [reasons::TOO_LARGE, reasons::CLUSTER_TOO_OLD] {
        let status = compute(&Findings {
            query: &query(),
            old: &ThanosQueryStatus::default(),
            progress: refused(reason, "why"),
            rollout: None,
            agents: &AgentAnswers::default(),
            now: Timestamp::UNIX_EPOCH,
        });
        assert_eq!(condition(&status, "Ready"), Some(("False", reason)));
        assert_eq!(condition(&status, "Stalled"), Some(("True", reason)));
        assert_eq!(condition(&status, "Invalid"), None);
    }
}

#[test]
fn what_a_release_cannot_do_is_one_condition_with_who_needs_it_and_the_remedy() {
    let need = |who: &str, what| Unsupported { who: who.to_owned(), what };
    let all = ["a", "b", "c", "d"].map(|name| need(&format!("Service demo/{name}"), Need::OwnTls));
    let mut summary = Summary { version: ThanosVersion::new(0, 41, 0), ..summary() };
    summary.endpoints.unsupported =
        all.into_iter().chain([need("Service demo/g", Need::ServiceConfig)]).collect();
    let status = done(&ThanosQueryStatus::default(), &summary, &Discovery::default(), None);
    assert_eq!(condition(&status, "UnsupportedByVersion"), Some(("True", "VersionTooOld")));
    let told = status.conditions.iter().find(|own| own.type_ == "UnsupportedByVersion").expect("told");
    let message = &told.message;
    assert!(message.contains("Thanos v0.41.0 cannot connect to single endpoints"), "{message}");
    assert!(message.contains("(Service demo/a, Service demo/b, Service demo/c and 1 more)"), "{message}");
    assert!(message.contains("reads no service config of a group"), "{message}");
    assert!(message.contains("set spec.version to v0.42 or newer"), "{message}");
    summary.endpoints.unsupported.clear();
    let mended = done(&status, &summary, &Discovery::default(), None);
    assert_eq!(condition(&mended, "UnsupportedByVersion"), None);
}
