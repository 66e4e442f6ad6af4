//! The 44 bugs of upstream that the reference "Peers and user needs", section 3, counts: what guards each of them here.

use std::{collections::BTreeSet, fs, path::Path};

/// Number, what goes wrong upstream, and the tests that it cannot go wrong so here: the name of a test, or the
/// sentence of a cluster case. A bug that has no place here says why instead.
const BUGS: [(u32, &str, &[&str]); 44] = [
    (
        1,
        "an empty selector crashes the operator",
        &[
            "an_empty_selector_takes_every_labelled_service_of_the_namespace",
            "every_operator_of_a_selector_works_without_match_labels",
        ],
    ),
    (
        2,
        "one Service without the port blocks every ThanosQuery",
        &["one_bad_service_is_rejected_by_name_and_the_others_count"],
    ),
    (3, "strict endpoints with dnssrv+ end Thanos", &["a_strict_endpoint_never_has_a_prefix_as_a_flag"]),
    (4, "groups do not balance", &["a_group_is_plain_up_to_0_36_and_balanced_from_0_37"]),
    (
        5,
        "without prometheus-operator the operator ends",
        &[
            "a_service_monitor_appears_when_the_cluster_learns_its_kind",
            "an_optional_kind_that_comes_and_goes_makes_everyone_look",
        ],
    ),
    (
        6,
        "a label that is taken off goes unnoticed",
        &["a_service_that_loses_its_label_or_is_being_deleted_counts_no_more"],
    ),
    (
        7,
        "a changed port goes unnoticed",
        &[
            "an ordinary Service added, given another port, relabelled out and removed replaces no pod (v0.42.4)",
        ],
    ),
    (
        8,
        "an error while listing loses the change",
        &[
            "a_service_deleted_while_the_watch_is_broken_is_noticed_at_the_next_list",
            "faults_at_random_lose_no_endpoint",
        ],
    ),
    // Services of other namespaces are issue C; until then they are never taken by mistake.
    (9, "other namespaces are invisible", &["services_of_other_namespaces_and_its_own_are_not_taken"]),
    (10, "the port has to be called grpc", &["the_port_annotation_names_another_port"]),
    (11, "a querier queries itself", &["services_of_other_namespaces_and_its_own_are_not_taken"]),
    (
        12,
        "the type depends on who reads the labels, and false counts as true",
        &["strict_wins_over_group_and_false_counts_as_absent"],
    ),
    (
        13,
        "gauges keep what is gone",
        &["a_type_that_no_endpoint_has_any_more_is_told_as_zero", "a_deleted_query_leaves_no_series"],
    ),
    (
        14,
        "a removed frontend runs for ever",
        &[
            "a_frontend_that_is_removed_leaves_nothing_behind",
            "a_frontend_removed_while_the_operator_is_away_leaves_nothing_behind",
        ],
    ),
    (
        15,
        "a disruption budget that is switched off stays",
        &["a_disruption_budget_that_is_switched_off_goes_although_others_share_its_name"],
    ),
    (
        16,
        "objects of others are taken over",
        &[
            "a_deployment_of_another_controller_is_reported_and_left_alone",
            "what_somebody_else_made_is_foreign",
        ],
    ),
    (17, "every endpoint restarts every querier", &["ordinary_endpoints_never_change_the_pod_template"]),
    (
        18,
        "a label of a tool restarts every querier",
        &[
            "labels_of_tools_reach_no_object_and_ours_win",
            "a_label_of_a_tool_costs_no_write_and_reaches_nothing",
        ],
    ),
    (19, "annotations of tools are copied to objects", &["labels_of_tools_reach_no_object_and_ours_win"]),
    (20, "kubectl rollout restart is undone", &["a_restart_that_a_person_asked_for_survives"]),
    (
        21,
        "autoscalers and people are fought over replicas",
        &[
            "a_number_of_pods_that_somebody_else_set_stays_until_the_spec_says_another",
            "an_autoscaler_that_has_nothing_to_scale_keeps_its_number_and_gives_it_back_when_it_goes",
        ],
    ),
    (
        22,
        "each reconcile writes although nothing changed",
        &[
            "at_rest_nothing_is_written_also_after_a_restart_of_the_operator",
            "defaults_that_the_api_server_adds_do_not_matter",
        ],
    ),
    (
        23,
        "pods end before their queries",
        &[
            "both_periods_count_and_what_is_given_replaces_the_default",
            "a_short_grace_period_shortens_the_time_to_leave",
        ],
    ),
    (24, "pull policy and pull secrets are ignored", &["pull_policy_and_pull_secrets_reach_the_pods"]),
    (25, "the frontend's log settings are ignored", &["the_log_is_written_as_the_fields_say"]),
    (26, "queryLabelSelector is never read", &["a_frontend_asks_the_query_service_that_its_selector_names"]),
    (
        27,
        "the default anti-affinity is wiped, and selects nothing",
        &["the_default_anti_affinity_selects_the_pods_and_gives_way_to_the_users"],
    ),
    (28, "a registry with a port loses the version", &["the_version_is_the_tag_of_an_image_without_one"]),
    (
        29,
        "a name that makes no Service breaks later",
        &[
            "a_name_that_makes_no_service_is_refused_with_the_remedy",
            "a_name_that_makes_no_service_still_gets_its_status",
        ],
    ),
    (
        30,
        "long ConfigMap and Secret names make bad volume names",
        &["config_maps_and_secrets_are_mounted_under_upstreams_names_which_are_never_too_long"],
    ),
    (
        31,
        "arguments that end in = are dropped",
        &["upstream_bug_31_values_may_end_in_an_equals_sign_or_hold_one"],
    ),
    (
        32,
        "a flag and its value as two items lose the value",
        &["upstream_bug_32_a_flag_and_its_value_may_be_two_items"],
    ),
    (33, "flags that may be repeated are not", &["upstream_bug_33_every_flag_that_can_be_repeated_is_added"]),
    (
        34,
        "conditions contradict each other, and paused is never cleared",
        &[
            "paused_nothing_but_status_is_written_and_afterwards_it_catches_up",
            "warnings_come_and_go_by_name",
        ],
    ),
    (35, "a conflict loses the status", &["a_status_that_cannot_be_written_holds_no_endpoint_up"]),
    (
        36,
        "every object refreshes every other, for ever",
        &["at_the_start_every_object_is_read_once", "a_rollout_that_ends_makes_the_query_ready"],
    ),
    (
        37,
        "with labels of tools the Deployment is not found",
        &["labels_of_tools_reach_no_object_and_ours_win"],
    ),
    (38, "the numbers of a frontend outlive it", &["a_frontend_counts_for_ready_and_its_numbers_go_with_it"]),
    (
        39,
        "conditions and Events hold no cause",
        &[
            "the_event_of_a_refusal_says_what_the_api_said",
            "what_the_api_refuses_is_told_with_its_words_and_stops_nothing_else",
        ],
    ),
    (40, "every pod gets an API token", &["no_container_but_the_agent_has_a_token"]),
    (
        41,
        "a restricted namespace rejects the pods",
        &[
            "security_and_dns_settings_are_completed_not_replaced",
            "the sample with every field runs as it says, queries through its frontend are answered, and what is switched off goes",
        ],
    ),
    (
        42,
        "the operator may do everything everywhere",
        &[
            "both_installs_give_the_same_rights_but_that_to_read_namespaces_which_no_role_can_give",
            "the_operator_may_do_what_it_does_with_every_kind_that_it_makes",
        ],
    ),
    (
        43,
        "the frontend's queries meet one querier",
        &[
            "a_frontend_that_is_removed_leaves_nothing_behind",
            "what_runs_is_reached_over_one_address_that_is_no_endpoint_of_anybody",
        ],
    ),
    (
        44,
        "the documents describe fields that do not exist",
        &["the_kitchen_sink_sets_every_field_and_no_other", "readme_names_every_condition"],
    ),
];

#[test]
fn every_bug_of_upstream_has_a_test_that_exists() {
    let mut known: BTreeSet<String> = tests::cases::all().into_iter().map(|case| case.name).collect();
    for folder in ["operator/src", "crds", "tests/tests"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        collect(&root, &mut known);
    }
    let numbers: Vec<u32> = BUGS.iter().map(|(number, _, _)| *number).collect();
    assert_eq!(numbers, (1..=44).collect::<Vec<u32>>());
    let missing: Vec<String> = BUGS
        .iter()
        .flat_map(|(number, bug, tests)| tests.iter().map(move |test| (number, bug, *test)))
        .filter(|(_, _, test)| !known.contains(*test))
        .map(|(number, bug, test)| format!("{number} ({bug}): no test {test}"))
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(BUGS.iter().all(|(_, bug, tests)| !bug.is_empty() && !tests.is_empty()));
}

/// Names of functions in the Rust files below `folder`.
fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a Rust file");
            let function = |line: &str| {
                let rest = line.trim_start().trim_start_matches("async ").strip_prefix("fn ")?;
                rest.split_once('(').map(|(name, _)| name.to_owned())
            };
            names.extend(text.lines().filter_map(function));
        }
    }
}
