//! The 52 fault cases of the reference "Moving an endpoints ConfigMap into a running pod", section 5: what proves each of
//! them here. The file must be right whatever goes wrong, so none of them may be forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde::Deserialize;

/// A file of the repository, and a test or a cluster case in it.
type Test = (&'static str, &'static str);

/// What proves a fault case.
enum Proof {
    /// These.
    By(&'static [Test]),
    /// Nothing can, or need: why.
    NotRun(&'static str),
}

use Proof::{By, NotRun};

const ANSWERS: &str = "sd-agent/tests/agent/answers.rs";
const API: &str = "sd-agent/tests/agent/api.rs";
const CHECK: &str = "sd-agent/src/check/tests.rs";
const CLUSTER_FAULTS: &str = "tests/src/cases/faults.rs";
const CLUSTER_VERSION: &str = "tests/tests/fake_api/cases_cluster_version.rs";
const CONTENT: &str = "sd-agent/tests/agent/content.rs";
const CROWD: &str = "tests/src/cases/agent_crowd.rs";
const DAMAGE: &str = "sd-agent/tests/agent/damage.rs";
const DIFFERENTIAL: &str = "tests/src/cases/differential.rs";
const FAULTS: &str = "sd-agent/tests/agent/faults.rs";
const FILES: &str = "sd-agent/tests/agent/files.rs";
const FOLDER_FAULTS: &str = "sd-agent/tests/agent/folders.rs";
const FULL_DISK: &str = "tests/src/cases/full_disk.rs";
const KILLS: &str = "sd-agent/tests/agent/kills.rs";
const LIFE: &str = "tests/src/cases/agent_life.rs";
const MOUNT: &str = "sd-agent/tests/agent/mount/mod.rs";
const MOUNT_PROCESS: &str = "sd-agent/tests/agent/mount/process.rs";
const MOUNT_START: &str = "sd-agent/tests/agent/mount/start.rs";
const MOUNT_SWAPS: &str = "sd-agent/tests/agent/mount/swaps.rs";
const MOUNT_UNFINISHED: &str = "sd-agent/tests/agent/mount/unfinished.rs";
const MOUNT_WATCH: &str = "sd-agent/tests/agent/mount/watch.rs";
const MOUNT_WIPED: &str = "sd-agent/tests/agent/mount/wiped.rs";
const ORDER: &str = "sd-agent/src/order.rs";
const ORDERING: &str = "sd-agent/tests/agent/ordering.rs";
const OUTAGE: &str = "sd-agent/tests/agent/outage.rs";
const PAYLOAD: &str = "sd-agent/src/payload.rs";
const PROCESS: &str = "sd-agent/tests/agent/process.rs";
const READERS: &str = "sd-agent/tests/agent/readers.rs";
const RIGHTS: &str = "tests/src/cases/agent_rights.rs";
const SNAPSHOT: &str = "sd-agent/src/mount/snapshot.rs";
const SOAK: &str = "tests/src/cases/agent_soak.rs";
const SOURCES: &str = "tests/src/cases/agent_sources.rs";
const WATCHING: &str = "sd-agent/src/mount/tests.rs";

/// Number, what happens, and the proof that the file stays right.
const CASES: [(u32, &str, Proof); 52] = [
    // Propagation and sources.
    (1, "the ConfigMap changes", By(&[(API, "every_change_of_the_config_map_reaches_the_file")])),
    (
        2,
        "fifty changes in a second",
        By(&[(API, "a_burst_ends_at_the_last_change_and_no_reader_sees_an_older_or_torn_file")]),
    ),
    (
        3,
        "only the mount is there",
        By(&[
            (WATCHING, "a_swap_that_nobody_tells_of_is_found_within_one_poll"),
            (MOUNT_SWAPS, "a_swap_of_the_mount_is_applied_by_the_event_alone"),
            (MOUNT_SWAPS, "a_swap_of_the_mount_is_applied_by_polling_alone"),
            (SOURCES, "mount_only"),
        ]),
    ),
    (
        4,
        "inotify cannot begin",
        By(&[
            (WATCHING, "a_watch_that_cannot_be_made_is_told_and_tried_again_later"),
            (MOUNT_PROCESS, "with_no_inotify_left_the_program_polls"),
            (MOUNT_SWAPS, "a_swap_of_the_mount_is_applied_by_polling_alone"),
            (MOUNT_WATCH, "without_a_watch_the_mount_is_polled_and_the_watch_is_tried_again"),
        ]),
    ),
    (
        5,
        "inotify's queue overflows",
        By(&[
            (MOUNT_WATCH, "an_overflow_of_the_queue_is_a_reason_to_read_everything_again"),
            (MOUNT_WATCH, "a_real_overflow_leads_to_a_read_of_everything_and_does_not_end_the_watch"),
        ]),
    ),
    (
        6,
        "inotify tells only odd events",
        By(&[
            (MOUNT_WATCH, "a_swap_that_is_seen_as_a_change_of_attributes_or_as_a_write_is_applied"),
            (MOUNT_WATCH, "a_swap_of_which_only_odd_events_arrive_is_applied_by_the_poll"),
            (MOUNT_WATCH, "a_watch_that_tells_nothing_at_all_is_made_up_for_by_the_poll"),
        ]),
    ),
    (
        7,
        "the mount is swapped between two keys",
        By(&[
            (SNAPSHOT, "keys_are_never_mixed_of_two_snapshots"),
            (SNAPSHOT, "a_swap_between_any_two_keys_is_read_again_from_the_start"),
            (SNAPSHOT, "a_mount_that_changes_during_every_read_is_left_for_later"),
            (MOUNT_SWAPS, "many_swaps_in_a_row_end_with_the_last_and_none_is_refused"),
        ]),
    ),
    (
        8,
        "the link of a key comes after the swap",
        By(&[(MOUNT_SWAPS, "a_key_that_is_new_is_read_before_its_own_link_exists")]),
    ),
    (
        9,
        "the swap is told before the content is there",
        By(&[
            (WATCHING, "a_link_that_moves_before_the_content_exists_is_waited_for_at_every_step"),
            (WATCHING, "a_document_without_its_envelope_is_waited_for"),
            (WATCHING, "content_that_follows_its_link_is_found_without_waiting_for_the_next_poll"),
            (MOUNT_UNFINISHED, "a_link_that_comes_before_its_content_is_no_error"),
        ]),
    ),
    (
        10,
        "a subPath is mounted",
        By(&[
            (SNAPSHOT, "a_sub_path_is_refused_with_the_field_to_change"),
            (WATCHING, "a_sub_path_is_told_at_the_first_look"),
            (MOUNT_UNFINISHED, "a_sub_path_is_refused_with_the_field_to_change_and_the_agent_goes_on"),
        ]),
    ),
    // Ordering.
    (
        11,
        "the mount lags behind the API",
        By(&[
            (MOUNT, "a_mount_that_lags_behind_the_api_is_ignored_and_causes_no_write_when_it_catches_up"),
            (ORDER, "a_mount_that_lags_is_ignored"),
        ]),
    ),
    (
        12,
        "the API is silent, the mount leads, the API returns",
        By(&[
            (API, "a_lower_generation_from_a_lagging_server_is_not_believed"),
            (OUTAGE, "without_the_api_for_half_a_minute_the_mount_leads_until_the_api_shows_more"),
        ]),
    ),
    (
        13,
        "two contents of one generation",
        By(&[
            (API, "another_content_under_the_same_generation_is_taken_from_the_quorum"),
            (ORDERING, "a_thousand_alternations_of_a_mount_that_disagrees_change_nothing"),
            (ORDER, "two_sources_that_disagree_do_not_flap"),
        ]),
    ),
    (
        14,
        "the ConfigMap is restored from a backup",
        By(&[
            (
                API,
                "a_restored_config_map_is_applied_once_the_quorum_confirms_it_and_the_mount_cannot_flip_it_back",
            ),
            (ORDERING, "what_was_given_up_does_not_come_back_from_a_cache_that_lags"),
            (ORDER, "after_a_regress_the_mount_cannot_flip_back"),
        ]),
    ),
    (
        15,
        "the ConfigMap is deleted and made again",
        By(&[
            (API, "a_config_map_that_is_deleted_and_made_again_keeps_the_last_good_file_in_between"),
            (ORDERING, "a_config_map_that_is_gone_is_told_as_gone_until_it_is_back"),
            (SOURCES, "config_map_deleted"),
        ]),
    ),
    (
        16,
        "the document is somebody else's",
        By(&[
            (API, "a_new_owner_counts_with_a_higher_generation_from_the_api"),
            (ORDERING, "a_foreign_owner_is_never_taken_from_the_mount"),
            (ORDER, "another_owner_counts_from_the_api_only"),
        ]),
    ),
    (
        17,
        "both sources in any order",
        By(&[
            (ORDERING, "any_interleaving_ends_at_what_the_api_has_and_goes_down_only_when_confirmed"),
            (ORDER, "any_interleaving_ends_at_the_quorum_and_goes_down_only_when_confirmed"),
        ]),
    ),
    (
        18,
        "clocks jump",
        By(&[(ORDERING, "clocks_that_jump_by_an_hour_change_no_order_and_no_number_is_negative")]),
    ),
    // Failures of the API.
    (
        19,
        "no API at the start, but a mount",
        By(&[
            (MOUNT_START, "with_the_api_down_at_the_start_the_mount_is_enough"),
            (MOUNT_START, "an_api_that_hangs_at_the_start_is_waited_for_as_long_as_the_budget_and_no_longer"),
        ]),
    ),
    (
        20,
        "neither at the start",
        By(&[
            (API, "without_any_document_the_agent_waits_and_starts_when_one_appears"),
            (MOUNT_START, "with_neither_api_nor_mount_nothing_is_started_until_one_of_them_comes"),
            (MOUNT_START, "a_mount_that_appears_late_starts_the_agent"),
        ]),
    ),
    (
        21,
        "no API for ten minutes",
        By(&[
            (OUTAGE, "ten_minutes_without_the_api_change_nothing_and_its_return_is_seen_soon"),
            (CLUSTER_FAULTS, "api_server_away"),
        ]),
    ),
    (
        22,
        "half a connection",
        By(&[
            (API, "a_silent_watch_is_given_up_and_what_it_missed_is_applied"),
            (OUTAGE, "a_half_open_watch_is_noticed_within_90_seconds_and_what_it_missed_is_applied"),
        ]),
    ),
    (
        23,
        "the watch ends as it should",
        By(&[
            (ANSWERS, "a_watch_whose_time_is_over_is_resumed_at_once_without_a_read"),
            (API, "a_watch_that_ends_is_resumed_where_it_was_without_a_read"),
        ]),
    ),
    (
        24,
        "410 Gone, and an error inside a watch",
        By(&[
            (ANSWERS, "an_expired_version_is_read_again_at_once_and_never_in_a_busy_loop"),
            (ANSWERS, "an_error_inside_a_watch_leads_to_a_read_after_the_wait_that_it_asks_for"),
            (API, "an_expired_watch_and_an_error_inside_a_watch_lead_to_a_new_read"),
        ]),
    ),
    (
        25,
        "429, 503, slow, huge and broken answers",
        By(&[
            (ANSWERS, "a_server_that_asks_to_be_left_alone_is_but_not_for_ever"),
            (ANSWERS, "garbage_changes_nothing_and_is_not_even_read_to_its_end"),
            (ANSWERS, "a_body_that_never_ends_is_given_up"),
            (API, "garbage_from_the_api_changes_nothing"),
        ]),
    ),
    (
        26,
        "the token is rotated, or gone",
        By(&[(ANSWERS, "a_rotated_token_is_read_at_once_and_one_that_is_gone_is_kept")]),
    ),
    (
        27,
        "the rights are taken away",
        By(&[
            (API, "rights_that_are_taken_away_make_the_mount_lead_until_they_are_back"),
            (OUTAGE, "an_agent_with_one_source_never_touches_the_other"),
        ]),
    ),
    (
        28,
        "what the API server lets an agent do",
        By(&[
            (API, "only_get_and_watch_of_the_one_name_are_ever_requested"),
            (RIGHTS, "only_its_own_config_map"),
        ]),
    ),
    (
        29,
        "a thousand agents and a restart of the API server",
        By(&[(OUTAGE, "a_thousand_agents_come_back_spread_over_ten_seconds"), (CROWD, "thousand_agents")]),
    ),
    // Content.
    (
        30,
        "a document that says nothing",
        By(&[(CONTENT, "a_document_that_says_nothing_is_refused_with_the_right_reason")]),
    ),
    (
        31,
        "no endpoints at all",
        By(&[
            (CONTENT, "no_endpoints_at_all_is_fine_when_it_is_meant"),
            (PAYLOAD, "an_empty_document_counts_only_when_it_is_meant"),
        ]),
    ),
    (
        32,
        "a document cut at any byte",
        By(&[
            (CONTENT, "a_torn_document_is_never_applied"),
            (DAMAGE, "a_payload_cut_at_any_byte_of_any_key_is_refused"),
            (DAMAGE, "a_torn_document_is_refused_even_when_it_is_vouched_for"),
            (DAMAGE, "an_agent_counts_each_damaged_document_and_keeps_its_file"),
            (PAYLOAD, "a_document_cut_at_any_byte_is_refused"),
        ]),
    ),
    (
        33,
        "single bits flip",
        By(&[
            (DAMAGE, "after_a_flipped_bit_the_original_document_is_applied_or_none"),
            (DAMAGE, "an_agent_counts_each_damaged_document_and_keeps_its_file"),
        ]),
    ),
    (
        34,
        "a gzip bomb, or broken gzip",
        By(&[
            (DAMAGE, "hostile_gzip_is_refused_for_what_it_is"),
            (DAMAGE, "the_largest_documents_and_bombs_stay_within_the_agents_memory"),
            (PAYLOAD, "a_gzip_bomb_is_refused_at_the_cap"),
            (CONTENT, "a_torn_gzip_in_the_mount_is_never_applied"),
        ]),
    ),
    (
        35,
        "as large as allowed, and one byte more",
        By(&[
            (DAMAGE, "a_document_at_the_limit_is_read_and_one_byte_more_is_refused"),
            (DAMAGE, "the_largest_documents_and_bombs_stay_within_the_agents_memory"),
        ]),
    ),
    (
        36,
        "what Thanos would refuse",
        By(&[
            (CHECK, "what_thanos_refuses_or_skips_is_a_problem"),
            (DAMAGE, "an_entry_that_thanos_would_refuse_is_never_applied"),
            (DIFFERENTIAL, "in_cluster"),
        ]),
    ),
    // The file system.
    (
        37,
        "the memory volume is full",
        By(&[
            (FILES, "what_was_remembered_is_written_once_the_file_can_be_written"),
            (FOLDER_FAULTS, "a_full_disk_keeps_the_old_file_and_the_new_one_comes_once_there_is_space"),
        ]),
    ),
    (
        38,
        "no room at any step of a write",
        By(&[
            (
                FAULTS,
                "whatever_operation_fails_the_old_file_is_intact_and_the_new_one_comes_when_it_works_again",
            ),
            (FAULTS, "a_temp_file_that_cannot_be_removed_keeps_the_old_file"),
            (FAULTS, "after_a_failed_sync_the_bytes_are_written_again_into_a_new_file"),
        ]),
    ),
    (
        39,
        "a folder or a file that cannot be written",
        By(&[
            (FILES, "a_write_that_fails_is_tried_again_until_it_works"),
            (
                FILES,
                "a_folder_in_place_of_the_file_is_left_alone_and_the_newest_document_comes_once_it_is_gone",
            ),
            (
                FOLDER_FAULTS,
                "a_read_only_folder_keeps_the_old_file_and_the_new_one_comes_once_it_can_be_written",
            ),
            (FOLDER_FAULTS, "a_file_of_another_user_stays_and_is_replaced_once_it_may_be"),
            (FILES, "a_file_that_someone_altered_or_removed_is_written_again"),
        ]),
    ),
    (
        40,
        "killed at any step of a write",
        By(&[
            (FILES, "a_file_that_is_ahead_of_the_state_is_not_rolled_back"),
            (KILLS, "a_writer_killed_at_any_step_leaves_whole_files_and_the_next_one_goes_on"),
            (KILLS, "an_agent_killed_again_and_again_never_goes_back_and_ends_at_the_newest_document"),
        ]),
    ),
    (
        41,
        "somebody reads all the time",
        By(&[
            (READERS, "readers_see_only_whole_files_however_often_the_file_is_replaced"),
            (API, "a_burst_ends_at_the_last_change_and_no_reader_sees_an_older_or_torn_file"),
        ]),
    ),
    (
        42,
        "somebody else changes the file",
        By(&[
            (FAULTS, "a_file_that_was_ahead_of_the_state_is_repaired_from_the_state_once_it_is_gone"),
            (FILES, "a_file_that_someone_altered_or_removed_is_written_again"),
        ]),
    ),
    (
        43,
        "two agents in one folder",
        By(&[(FILES, "a_second_agent_in_the_same_folder_waits_says_why_and_takes_over")]),
    ),
    (
        44,
        "the node's disk is full",
        By(&[
            (SNAPSHOT, "a_folder_that_was_deleted_under_its_mount_point_is_told_from_one_that_is_missing"),
            (WATCHING, "a_mount_that_is_gone_is_read_and_watched_again_when_it_is_back"),
            (MOUNT_PROCESS, "a_bind_mount_of_which_the_source_is_removed_is_told_and_the_api_goes_on"),
            (MOUNT_WIPED, "a_folder_that_is_removed_under_the_agent_is_told_and_a_new_one_is_taken_up"),
            (MOUNT_WIPED, "a_wipe_leaves_the_last_good_file_and_the_agent_alive_without_an_api"),
            (FULL_DISK, "node_disk_full"),
        ]),
    ),
    (
        45,
        "the mount empties",
        By(&[
            (WATCHING, "a_config_map_that_is_really_empty_is_absent_after_a_while"),
            (MOUNT_UNFINISHED, "a_mount_that_empties_or_vanishes_keeps_the_last_good_file"),
            (SOURCES, "config_map_deleted"),
        ]),
    ),
    // Life and death.
    (
        46,
        "the agent is killed three times",
        By(&[
            (PROCESS, "a_killed_agent_resumes_from_its_state_and_the_file_does_not_change"),
            (LIFE, "killed"),
        ]),
    ),
    (
        47,
        "the agent is told to stop",
        By(&[
            (PROCESS, "a_stopped_agent_exits_with_0_and_leaves_its_files"),
            (PROCESS, "an_agent_stopped_in_the_middle_of_changes_leaves_a_whole_file"),
        ]),
    ),
    (48, "the pod is deleted", By(&[(LIFE, "outlives_thanos")])),
    (
        49,
        "Kubernetes without native sidecars",
        By(&[
            (
                CLUSTER_VERSION,
                "on_a_cluster_without_native_sidecars_nothing_is_applied_and_both_ways_out_are_told_and_work",
            ),
            (CLUSTER_VERSION, "what_runs_stays_as_it_is_when_the_cluster_says_that_it_is_too_old"),
            (CLUSTER_VERSION, "a_cluster_that_is_upgraded_is_noticed_without_a_restart_of_the_operator"),
            (CLUSTER_VERSION, "a_cluster_without_the_pause_before_a_pod_ends_has_agents_and_a_remark"),
            (CLUSTER_VERSION, "a_cluster_that_does_not_say_its_version_is_taken_for_new_enough"),
            (CLUSTER_VERSION, "explain_says_it_without_an_operator"),
        ]),
    ),
    (50, "changes for a long time", By(&[(SOAK, "soak")])),
    (
        51,
        "gVisor and Kata",
        NotRun("neither can be had from a Go module or a package of Debian; there the mount is polled (4)"),
    ),
    (
        52,
        "a kubelet that ignores pokes",
        NotRun(
            "the operator may not write pods, so it pokes no kubelet, and there is nothing to fall back from",
        ),
    ),
];

/// Where tests may say which case they prove.
const FOLDERS: [&str; 4] = ["sd-agent/src", "sd-agent/tests", "tests/src/cases", "tests/tests"];

#[test]
fn every_case_is_there_once_and_every_test_that_it_names_exists() {
    let numbers: Vec<u32> = CASES.iter().map(|(number, _, _)| *number).collect();
    assert_eq!(numbers, (1..=52).collect::<Vec<u32>>());
    let mut wrong = Vec::new();
    for (number, title, proof) in &CASES {
        let tests = match proof {
            By(tests) => *tests,
            NotRun(why) => {
                assert!(!why.is_empty());
                continue;
            }
        };
        if matches!(proof, By([])) {
            wrong.push(format!("{number} ({title}): proved by nothing"));
        }
        for (file, function) in tests {
            if let Err(error) = find(file, function) {
                wrong.push(format!("{number} ({title}): {error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_test_that_says_which_case_it_proves_is_in_the_table() {
    let mut said = BTreeMap::new();
    for folder in FOLDERS {
        rust_files(&root().join(folder), &mut |path| {
            let text = fs::read_to_string(path).expect("a Rust file");
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            for (numbers, function) in claims(&text) {
                said.entry((name.clone(), function)).or_insert_with(BTreeSet::new).extend(numbers);
            }
        });
    }
    let listed = |number: u32, file: &str, function: &str| {
        CASES.iter().any(|(own, _, proof)| {
            let By(tests) = proof else { return false };
            *own == number && tests.contains(&(file, function))
        })
    };
    let mut wrong = Vec::new();
    for ((file, function), numbers) in &said {
        let unlisted = numbers.iter().filter(|&&number| !listed(number, file, function));
        wrong.extend(unlisted.map(|number| format!("{number}: {file} {function}")));
    }
    assert!(said.len() > 30, "only {} tests say which case they prove", said.len());
    assert!(wrong.is_empty(), "not in the table:\n{}", wrong.join("\n"));
}

/// Why case 52 needs no test.
#[test]
fn the_operator_may_not_write_pods() {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        rules: Vec<PolicyRule>,
    }
    let mut of_pods = 0;
    for name in ["install.yaml", "install-namespaced.yaml"] {
        let text = fs::read_to_string(root().join("manifests").join(name)).expect("a manifest");
        let documents: Vec<Document> = serde_saphyr::from_multiple(&text).expect("a manifest");
        for rule in documents.into_iter().flat_map(|document| document.rules) {
            let about_pods =
                rule.resources.iter().flatten().any(|name| name == "*" || name.starts_with("pods"));
            if about_pods {
                of_pods += 1;
                assert_eq!(rule.verbs, ["list"], "{name}: {rule:?}");
            }
        }
    }
    assert_eq!(of_pods, 2);
}

/// That `function` is a test of `file`, or a case that runs.
fn find(file: &str, function: &str) -> Result<(), String> {
    let text = fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))?;
    let lines: Vec<&str> = text.lines().collect();
    let place = lines.iter().position(|line| function_in(line) == Some(function));
    let place = place.ok_or_else(|| format!("{file} has no {function}"))?;
    let is_test = || above(&lines, place).any(|line| line.starts_with("#[") && line.contains("test"));
    // A case is named where it is listed, too.
    let is_case = || {
        let calls =
            lines.iter().enumerate().filter(|(index, line)| *index != place && has_word(line, function));
        file.starts_with("tests/src/cases/") && calls.count() > 0
    };
    if is_test() || is_case() { Ok(()) } else { Err(format!("{function} in {file} is never run")) }
}

/// The functions under a comment `/// Case 12.` or `/// Cases 3 and 4, …`, with the numbers.
fn claims(text: &str) -> Vec<(Vec<u32>, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let named = lines.iter().enumerate().filter_map(|(index, line)| Some((index, function_in(line)?)));
    let claims = named.filter_map(|(index, function)| {
        let numbers: Vec<u32> = above(&lines, index).flat_map(numbers_in).collect();
        (!numbers.is_empty()).then(|| (numbers, function.to_owned()))
    });
    claims.collect()
}

fn numbers_in(comment: &str) -> Vec<u32> {
    let rest = ["/// Case ", "/// Cases "].iter().find_map(|start| comment.strip_prefix(start));
    let words = rest.unwrap_or_default().split([' ', ',']).filter(|word| !word.is_empty());
    let is_end = |word: &str| word.ends_with(['.', ':', ';']);
    let mut numbers = Vec::new();
    for word in words {
        match word.trim_end_matches(['.', ':', ';']).parse() {
            Ok(number) => numbers.push(number),
            Err(_) if word == "and" => continue,
            Err(_) => break,
        }
        if is_end(word) {
            break;
        }
    }
    numbers
}

/// The comments and attributes directly above a line, trimmed.
fn above<'a>(lines: &'a [&'a str], place: usize) -> impl Iterator<Item = &'a str> {
    let before = lines[..place].iter().rev().map(|line| line.trim_start());
    before.take_while(|line| line.starts_with("//") || line.starts_with("#["))
}

fn function_in(line: &str) -> Option<&str> {
    let rest = line.trim_start().trim_start_matches("async ").strip_prefix("fn ")?;
    rest.split_once('(').map(|(name, _)| name)
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').any(|part| part == word)
}

fn rust_files(folder: &Path, see: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, see);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            see(&path);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}
