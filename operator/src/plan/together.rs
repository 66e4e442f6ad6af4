//! Arguments that Thanos takes one by one, and refuses together. Each rule was seen in its source and in what it
//! answers.

use super::{
    additional_args::Merged,
    arg::Arg,
    duration::Nanos,
    go_number,
    thanos_args::{Program, has_variable},
};

const BUCKETS: [&str; 3] = [
    "--query.telemetry.request-duration-seconds-quantiles",
    "--query.telemetry.request-samples-quantiles",
    "--query.telemetry.request-series-seconds-quantiles",
];

const SPLIT: &str = "--query-range.split-interval";
/// They split ranges in another way, all three together.
const DYNAMIC_SPLIT: [&str; 3] = [
    "--query-range.horizontal-shards",
    "--query-range.min-split-interval",
    "--query-range.max-split-interval",
];
const RANGE_CACHE: &str = "--query-range.response-cache-config";
const LABELS_SPLIT: &str = "--labels.split-interval";
const LABELS_CACHE: &str = "--labels.response-cache-config";
const TENANT_HEADER: &str = "--query-frontend.tenant-header";
const DEFAULT_TENANT_HEADER: &str = "THANOS-TENANT";
const TENANT_CERTIFICATE: &str = "--query-frontend.tenant-certificate-field";
const ORG_ID_HEADER: &str = "--query-frontend.org-id-header";

/// Leaves out or changes what would end `program`.
pub fn settle(merged: &mut Merged, program: Program) {
    match program {
        Program::Query => {
            for key in BUCKETS {
                sort_buckets(merged, key);
            }
            web_prefix(merged);
            certificates(merged);
        }
        Program::QueryFrontend => {
            dynamic_split(merged);
            split_with_cache(merged, SPLIT, RANGE_CACHE);
            split_with_cache(merged, LABELS_SPLIT, LABELS_CACHE);
            org_id_header(merged);
            certificate_with_cache(merged);
        }
    }
}

/// A histogram whose buckets do not ascend makes every query panic that finds data: an empty answer, from a querier that
/// stays ready.
fn sort_buckets(merged: &mut Merged, key: &str) {
    let bucket = |arg: &Arg| arg.given().and_then(go_number::float);
    let places: Vec<usize> = (0..merged.args.len()).filter(|&at| merged.args[at].key() == key).collect();
    let given: Vec<Arg> = places.iter().map(|&at| merged.args[at].clone()).collect();
    if given.iter().any(|arg| bucket(arg).is_none()) {
        return; // a variable
    }
    let mut sorted = given.clone();
    sorted.sort_by(|a, b| bucket(a).partial_cmp(&bucket(b)).unwrap_or(std::cmp::Ordering::Equal));
    sorted.dedup_by(|a, b| bucket(a) == bucket(b));
    if sorted == given {
        return;
    }
    if let Some(field) = given.iter().rev().find_map(Arg::field) {
        merged
            .remarks
            .push(format!("{field}: {key}: sorted, since Thanos panics when its values do not ascend"));
    }
    let surplus = places.iter().skip(sorted.len()).copied().collect::<Vec<_>>();
    for (at, arg) in places.into_iter().zip(sorted) {
        merged.args[at] = arg;
    }
    for at in surplus.into_iter().rev() {
        merged.args.remove(at);
    }
}

/// Thanos' router takes `:` and `*` for placeholders, and panics where they make none. An external prefix that is a
/// URL becomes the route prefix as a whole.
fn web_prefix(merged: &mut Merged) {
    const ROUTE: &str = "--web.route-prefix";
    const EXTERNAL: &str = "--web.external-prefix";
    let is_bad = |merged: &Merged, name| merged.value(name).is_some_and(|prefix| prefix.contains([':', '*']));
    if is_bad(merged, ROUTE) {
        merged.refuse(ROUTE, "Thanos cannot serve a path with : or *; write only a path, such as /thanos");
    }
    if merged.value(ROUTE).is_none_or(str::is_empty) && is_bad(merged, EXTERNAL) {
        merged.refuse(
            EXTERNAL,
            "without a route prefix Thanos serves everything below it, and cannot serve a path with : or *; write only a path, such as /thanos, or set the route prefix to /",
        );
    }
}

/// Half a certificate ends Thanos.
fn certificates(merged: &mut Merged) {
    let has = |merged: &Merged, name| merged.value(name).is_some_and(|value| !value.is_empty());
    let is_on = |merged: &Merged, name| merged.args.iter().any(|arg| arg.name() == name);
    let mut pairs = vec![("--grpc-server-tls-cert", "--grpc-server-tls-key")];
    if is_on(merged, "--grpc-client-tls-secure") {
        pairs.push(("--grpc-client-tls-cert", "--grpc-client-tls-key"));
    }
    for (cert, key) in pairs {
        for (name, other) in [(cert, key), (key, cert)] {
            if has(merged, name) && !has(merged, other) {
                merged.refuse(
                    name,
                    &format!("Thanos does not start without its other half; add {other}, or remove it"),
                );
            }
        }
    }
    let client_ca = "--grpc-server-tls-client-ca";
    if has(merged, client_ca) && !has(merged, "--grpc-server-tls-cert") {
        merged.refuse(
            client_ca,
            "Thanos does not start without a certificate of its own; add --grpc-server-tls-cert and --grpc-server-tls-key, or remove it",
        );
    }
}

/// Either one interval or the three flags of the dynamic split.
fn dynamic_split(merged: &mut Merged) {
    let is_set = |merged: &Merged, name| merged.value(name).is_some_and(is_positive);
    let set = DYNAMIC_SPLIT.iter().filter(|name| is_set(merged, name)).count();
    if set == 0 {
        return;
    }
    if set < DYNAMIC_SPLIT.len() {
        let [shards, min, max] = DYNAMIC_SPLIT;
        for name in DYNAMIC_SPLIT {
            merged.refuse(
                name,
                &format!("Thanos does not start unless {shards}, {min} and {max} are all more than 0"),
            );
        }
        return;
    }
    if merged.value(SPLIT).is_some_and(|split| !is_positive(split)) {
        return;
    }
    let (off, shards) = (Arg::value(SPLIT, "0s"), DYNAMIC_SPLIT[0]);
    if let Some(arg) = merged.args.iter().find(|arg| arg.name() == shards) {
        merged.remarks.push(arg.message(format!("sets {off}: Thanos takes only one way to split")));
    }
    match merged.args.iter_mut().find(|arg| arg.name() == SPLIT) {
        Some(split) => *split = off,
        None => merged.args.push(off),
    }
}

/// A cache holds the pieces of what is split.
fn split_with_cache(merged: &mut Merged, split: &str, cache: &str) {
    let has_cache = [cache.to_owned(), format!("{cache}-file")]
        .iter()
        .any(|name| merged.value(name).is_some_and(|value| !value.is_empty()));
    let is_dynamic =
        split == SPLIT && DYNAMIC_SPLIT.iter().all(|name| merged.value(name).is_some_and(is_positive));
    if has_cache && !is_dynamic && merged.value(split).is_some_and(|value| !is_positive(value)) {
        merged.refuse(split, "with a cache it has to be more than 0; the default of Thanos, 24h, is used");
    }
}

fn org_id_header(merged: &mut Merged) {
    let is_own = |header: &str| !header.is_empty() && header != DEFAULT_TENANT_HEADER;
    if merged.value(TENANT_HEADER).is_some_and(is_own) {
        merged.refuse(
            ORG_ID_HEADER,
            &format!("Thanos does not start with it and {TENANT_HEADER}; keep only the latter"),
        );
    }
}

/// A cache keeps its answers apart by request headers, not by certificates: of two tenants that asked the same the
/// second got the series of the first (v0.42.4).
fn certificate_with_cache(merged: &mut Merged) {
    if merged.value(TENANT_CERTIFICATE).is_none_or(str::is_empty) {
        return;
    }
    for cache in [RANGE_CACHE, LABELS_CACHE] {
        for name in [cache.to_owned(), format!("{cache}-file")] {
            merged.refuse(
                &name,
                &format!(
                    "with {TENANT_CERTIFICATE} one tenant would get what Thanos cached for another; take the tenant \
                     from a header, or do without a cache"
                ),
            );
        }
    }
}

/// Of a whole number or a duration.
fn is_positive(text: &str) -> bool {
    let number = go_number::signed(text).is_some_and(|number| number > 0);
    number || has_variable(text) || Nanos::go(text, true).is_some_and(|nanos| nanos > Nanos::ZERO)
}
