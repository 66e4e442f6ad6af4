//! Pure: the answer as text for people, and as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sd_agent::EndpointType;

use super::{
    Carrier, ConditionExplained, DocumentInUse, EndpointExplained, Explanation, PodExplained, PodsExplained,
    Remark, ServiceExplained, StoreListed, Unread, Verdict,
    escape::escaped_json,
    table::{Page, Row, cut},
};

/// Services of a short group that are shown; JSON has all.
const SHOWN: usize = 20;
/// Endpoints of one Service that are shown.
const ENDPOINTS_SHOWN: usize = 4;
/// Label sets of one store that are shown, and characters of each.
const LABEL_SETS_SHOWN: usize = 2;
const LABEL_SET_WIDTH: usize = 90;

/// One JSON object, with a newline at the end.
pub fn json(explanation: &Explanation) -> String {
    // Strings, numbers and maps with text keys: this cannot fail.
    let text = serde_json::to_string_pretty(explanation).unwrap_or_default();
    format!("{}\n", escaped_json(&text))
}

/// For people: what needs a look first, then all else. `now` tells ages.
pub fn table(explanation: &Explanation, now: Timestamp) -> String {
    let mut page = Page::default();
    head(&mut page, explanation, now);
    unread(&mut page, &explanation.unread);
    left_out(&mut page, &explanation.services);
    counting(&mut page, explanation);
    additional(&mut page, explanation);
    let still_there = explanation.still_there.iter();
    grouped(
        &mut page,
        "ENDPOINTS THAT ARE STILL THERE",
        still_there.map(|own| (own.why.clone(), own.address.clone())),
    );
    conditions(&mut page, &explanation.conditions);
    for (title, texts) in [
        ("PARTS OF THE SPEC THAT ARE LEFT OUT", &explanation.problems),
        ("REMARKS ABOUT THE SPEC", &explanation.remarks),
    ] {
        if !texts.is_empty() {
            page.heading(title);
            page.list(texts);
        }
    }
    pods(&mut page, &explanation.pods, explanation.document.as_ref());
    stores(&mut page, &explanation.pods.pods, now);
    short(&mut page, "SERVICES NOT SELECTED", &explanation.services, Verdict::NotSelected);
    short(&mut page, "SERVICES WITHOUT THE STOREAPI LABELS", &explanation.services, Verdict::Unlabelled);
    page.into_text()
}

fn head(page: &mut Page, explanation: &Explanation, now: Timestamp) {
    let count = |verdict| explanation.services.iter().filter(|service| service.verdict == verdict).count();
    let Explanation { namespace, query, version, document, look, .. } = explanation;
    let version = version.as_deref().unwrap_or("unknown");
    page.line(&format!("ThanosQuery {namespace}/{query}, Thanos {version}"));
    page.line(&format!(
        "Services: {} that count, {} left out, {} not selected, {} without the labels",
        count(Verdict::In),
        count(Verdict::LeftOut),
        count(Verdict::NotSelected),
        count(Verdict::Unlabelled),
    ));
    match document {
        Some(DocumentInUse { config_map, generation, sha256: _, endpoints, written_at }) => page.line(&format!(
            "Document: generation {generation} with {endpoints} endpoints in ConfigMap {config_map}, written {} ago",
            age(*written_at, now)
        )),
        None => page.line("Document: none; what counts is in flags, or not in use"),
    }
    if look.is_empty() {
        page.heading("ALL IS WELL");
    } else {
        page.heading("NEEDS A LOOK");
        page.list(look);
    }
}

fn unread(page: &mut Page, all: &[Unread]) {
    if all.is_empty() {
        return;
    }
    page.heading("NOT READ");
    let texts = all.iter().map(|Unread { kind, namespace, problem, consequence }| {
        let place: String = namespace.iter().map(|namespace| format!(" in namespace {namespace}")).collect();
        format!("{kind}{place}: {problem}. So {consequence}")
    });
    page.list(&texts.collect::<Vec<_>>());
}

fn left_out(page: &mut Page, services: &[ServiceExplained]) {
    let left_out: Vec<&ServiceExplained> =
        services.iter().filter(|service| service.verdict == Verdict::LeftOut).collect();
    if left_out.is_empty() {
        return;
    }
    page.heading("SERVICES LEFT OUT");
    let rows = left_out.into_iter().map(|service| {
        let ServiceExplained { namespace, name, reason, remarks, .. } = service;
        let (word, message) = reason
            .as_ref()
            .map_or(("", String::new()), |Remark { reason, message }| (reason.as_str(), message.clone()));
        let name = format!("{namespace}/{name}");
        Row::of([name.as_str(), word]).below([message]).below(remarks.iter().map(|own| own.message.clone()))
    });
    page.table(&[Row::of(["SERVICE", "REASON"])].into_iter().chain(rows).collect::<Vec<_>>());
}

fn counting(page: &mut Page, explanation: &Explanation) {
    page.heading("SERVICES THAT COUNT");
    let mut rows = vec![Row::of(["SERVICE", "TYPE", "FROM", "ENDPOINT"])];
    for service in explanation.services.iter().filter(|service| service.verdict == Verdict::In) {
        let ServiceExplained { namespace, name, endpoint_type, endpoints, remarks, .. } = service;
        let name = format!("{namespace}/{name}");
        let type_name = endpoint_type.map_or("", type_name);
        let remarks = remarks.iter().map(|Remark { reason, message }| format!("{reason}: {message}"));
        rows.extend(endpoint_rows(&name, type_name, endpoints, remarks.collect()));
    }
    match rows.len() {
        1 => page.paragraph("no Service counts"),
        _ => page.table(&rows),
    }
}

/// The endpoints of one Service, one a row.
fn endpoint_rows(
    name: &str,
    type_name: &str,
    endpoints: &[EndpointExplained],
    remarks: Vec<String>,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (index, EndpointExplained { address, carrier }) in endpoints.iter().take(ENDPOINTS_SHOWN).enumerate()
    {
        let (name, type_name) = if index == 0 { (name, type_name) } else { ("", "") };
        rows.push(Row::of([name, type_name, carrier_name(*carrier), address]));
    }
    if endpoints.is_empty() {
        rows.push(Row::of([name, type_name, "-", "-"]));
    }
    let mut below = remarks;
    if let more @ 1.. = endpoints.len().saturating_sub(ENDPOINTS_SHOWN) {
        below.insert(0, format!("and {more} more endpoints"));
    }
    let last = rows.pop().map(|row| row.below(below));
    rows.extend(last);
    rows
}

fn additional(page: &mut Page, explanation: &Explanation) {
    if explanation.additional_endpoints.is_empty() {
        return;
    }
    page.heading("ADDITIONAL ENDPOINTS");
    let rows = explanation.additional_endpoints.iter().map(|own| {
        let from = own.endpoint.as_ref().map_or("left out", |endpoint| carrier_name(endpoint.carrier));
        Row::of([own.index.to_string().as_str(), type_name(own.endpoint_type), from, own.address.as_str()])
    });
    page.table(&[Row::of(["INDEX", "TYPE", "FROM", "ENDPOINT"])].into_iter().chain(rows).collect::<Vec<_>>());
}

fn conditions(page: &mut Page, conditions: &[ConditionExplained]) {
    if conditions.is_empty() {
        return;
    }
    page.heading("CONDITIONS");
    let rows = conditions.iter().map(|condition| {
        let ConditionExplained { type_, status, reason, message, is_warning: _ } = condition;
        let message = Some(message.clone()).filter(|message| !message.is_empty());
        Row::of([type_.as_str(), status.as_str(), reason.as_str()]).below(message)
    });
    page.table(&[Row::of(["CONDITION", "STATUS", "REASON"])].into_iter().chain(rows).collect::<Vec<_>>());
}

fn pods(page: &mut Page, pods: &PodsExplained, document: Option<&DocumentInUse>) {
    page.heading("PODS");
    if let Some(right) = &pods.missing_right {
        let synced = pods.synced.as_ref().map_or_else(
            || "The status does not say what they have.".to_owned(),
            |synced| format!("The status says that {synced} have the current endpoints."),
        );
        page.paragraph(&format!("The pods cannot be asked: you need the right to {right}. {synced}"));
    }
    if pods.pods.is_empty() {
        page.paragraph("there are none");
        return;
    }
    let rows = pods.pods.iter().map(|pod| {
        let PodExplained { name, node, phase, ready, generation, has_document, agent_problems, .. } = pod;
        let ready = if *ready { "yes" } else { "no" };
        let generation = match (generation, has_document) {
            (Some(generation), Some(true)) => format!("{generation}, current"),
            (Some(generation), _) => match document {
                Some(document) if document.generation == *generation => {
                    format!("{generation}, other content")
                }
                Some(document) => format!("{generation}, not {}", document.generation),
                None => generation.to_string(),
            },
            (None, Some(false)) => "none yet".to_owned(),
            (None, _) => "-".to_owned(),
        };
        let stores = match (&pod.stores, &pod.stores_problem) {
            (Some(stores), _) => told(stores, &pod.not_listed),
            (None, _) => "-".to_owned(),
        };
        let node = node.as_deref().unwrap_or("-");
        let below = agent_problems.iter().map(|problem| format!("agent: {problem}"));
        let below = below.chain(pod.stores_problem.iter().map(|problem| format!("Thanos: {problem}")));
        Row::of([name.as_str(), node, phase.as_str(), ready, generation.as_str(), stores.as_str()])
            .below(below)
    });
    let titles = Row::of(["POD", "NODE", "PHASE", "READY", "GENERATION", "STORES"]);
    page.table(&[titles].into_iter().chain(rows).collect::<Vec<_>>());
}

fn told(stores: &[StoreListed], not_listed: &[String]) -> String {
    let failing = stores.iter().filter(|store| store.last_error.is_some()).count();
    let mut text = format!("{} healthy", stores.len() - failing);
    for (count, what) in [(failing, "failing"), (not_listed.len(), "not listed")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

/// What Thanos lists, once for all pods that list the same.
fn stores(page: &mut Page, pods: &[PodExplained], now: Timestamp) {
    let mut groups: Vec<(&PodExplained, Vec<&str>, Vec<&StoreListed>)> = Vec::new();
    for pod in pods {
        let Some(stores) = &pod.stores else { continue };
        match groups.iter_mut().find(|(first, ..)| lists_the_same(first, pod)) {
            Some((_, names, all)) => {
                names.push(&pod.name);
                all.extend(stores);
            }
            None => groups.push((pod, vec![&pod.name], stores.iter().collect())),
        }
    }
    let asked = pods.iter().filter(|pod| pod.stores.is_some()).count();
    for (pod, names, all) in groups {
        match names.len() {
            many if many == asked && asked > 1 => {
                page.heading(&format!("STORES THAT THANOS LISTS, IN ALL {many} PODS"))
            }
            _ => page.heading(&format!("STORES THAT THANOS LISTS, IN {}", names.join(", "))),
        }
        let stores = pod.stores.as_deref().unwrap_or_default();
        let mut rows = vec![Row::of(["KIND", "STATE", "ASKED", "ADDRESS"])];
        for store in stores {
            // Of all pods the one that has not asked for longest.
            let same = all.iter().filter(|other| other.kind == store.kind && other.name == store.name);
            let asked = same.filter_map(|other| other.last_check).min();
            let asked = asked.map_or_else(|| "-".to_owned(), |asked| format!("{} ago", age(asked, now)));
            let state = if store.last_error.is_some() { "FAILING" } else { "healthy" };
            let below = store.last_error.iter().cloned().chain(label_sets(&store.label_sets));
            rows.push(
                Row::of([store.kind.as_str(), state, asked.as_str(), store.name.as_str()]).below(below),
            );
        }
        rows.extend(pod.not_listed.iter().map(|address| Row::of(["-", "NOT LISTED", "-", address.as_str()])));
        match rows.len() {
            1 => page.paragraph("none"),
            _ => page.table(&rows),
        }
        if !pod.not_listed.is_empty() {
            page.paragraph(
                "Thanos asks a new store within refreshInterval, lists it once \
                 it has answered, and forgets one that has not answered for minutes. Where one stays NOT LISTED: look at \
                 its pods and port, at network policies, and at the log of the querier.",
            );
        }
    }
}

fn lists_the_same(a: &PodExplained, b: &PodExplained) -> bool {
    let without_times = |pod: &PodExplained| -> Vec<StoreListed> {
        let stores = pod.stores.iter().flatten().cloned();
        stores.map(|store| StoreListed { last_check: None, ..store }).collect()
    };
    a.not_listed == b.not_listed && without_times(a) == without_times(b)
}

fn label_sets(sets: &[BTreeMap<String, String>]) -> Vec<String> {
    let shown = sets.iter().take(LABEL_SETS_SHOWN).map(|set| {
        let labels: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        cut(&format!("{{{}}}", labels.join(", ")), LABEL_SET_WIDTH)
    });
    let mut shown: Vec<String> = shown.collect();
    if let more @ 1.. = sets.len().saturating_sub(LABEL_SETS_SHOWN) {
        shown.push(format!("and {more} more label sets"));
    }
    shown
}

/// Services that are left out for few reasons.
fn short(page: &mut Page, title: &str, services: &[ServiceExplained], verdict: Verdict) {
    let all = services.iter().filter(|service| service.verdict == verdict);
    let told = all.filter_map(|service| {
        let Remark { reason, message } = service.reason.as_ref()?;
        Some((format!("{reason}: {message}"), format!("{}/{}", service.namespace, service.name)))
    });
    grouped(page, title, told);
}

/// Each text once, with the names below that it is about.
fn grouped(page: &mut Page, title: &str, told: impl Iterator<Item = (String, String)>) {
    let all: Vec<(String, String)> = told.collect();
    if all.is_empty() {
        return;
    }
    let more = all.len().saturating_sub(SHOWN);
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (text, name) in all.into_iter().take(SHOWN) {
        match groups.iter_mut().find(|(own, _)| *own == text) {
            Some((_, names)) => names.push(name),
            None => groups.push((text, vec![name])),
        }
    }
    page.heading(title);
    for (text, names) in groups {
        page.paragraph(&text);
        names.iter().for_each(|name| page.line(&format!("      {name}")));
    }
    if more > 0 {
        page.paragraph(&format!("and {more} more; --output json has all"));
    }
}

fn type_name(endpoint_type: EndpointType) -> &'static str {
    match endpoint_type {
        EndpointType::Regular => "regular",
        EndpointType::Strict => "strict",
        EndpointType::Group => "group",
        EndpointType::GroupStrict => "group-strict",
    }
}

fn carrier_name(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::File => "file",
        Carrier::Flag => "flag",
        Carrier::FileUntilFlag => "file, flag follows",
        Carrier::Nothing => "not yet",
        Carrier::Unknown => "not known",
    }
}

/// How long ago, such as `12s`, `5m`, `3h` or `2d`.
fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_group_is_shown_in_part_and_counted() {
        let mut page = Page::default();
        let names = (0..25).map(|index| ("no label".to_owned(), format!("demo/s{index}")));
        grouped(&mut page, "UNLABELLED", names);
        let text = page.into_text();
        assert!(text.contains("demo/s19") && !text.contains("demo/s20"), "{text}");
        assert!(text.contains("and 5 more; --output json has all"), "{text}");
        assert_eq!(text.matches("no label").count(), 1);
    }

    #[test]
    fn an_age_has_one_unit() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let ages = [0, 119, 120, 7199, 7200, 172_800].map(|seconds| age(at(0), at(seconds)));
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "2d"]);
        assert_eq!(age(at(5), at(0)), "0s", "clocks differ");
    }
}
