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
    /// These, and some that are still to be written.
    Missing(&'static [Test]),
    /// Nothing can, or need: why.
    NotRun(&'static str),
}

use Proof::{By, Missing, NotRun};

const API: &str = "sd-agent/tests/agent/api.rs";
const CONTENT: &str = "sd-agent/tests/agent/content.rs";
const FILES: &str = "sd-agent/tests/agent/files.rs";
const MOUNT: &str = "sd-agent/tests/agent/mount.rs";
const PROCESS: &str = "sd-agent/tests/agent/process.rs";
const ORDER: &str = "sd-agent/src/order.rs";
const READING: &str = "sd-agent/src/mount.rs";
const PAYLOAD: &str = "sd-agent/src/payload.rs";
const CROWD: &str = "tests/src/cases/agent_crowd.rs";
const LIFE: &str = "tests/src/cases/agent_life.rs";
const RIGHTS: &str = "tests/src/cases/agent_rights.rs";
const SOAK: &str = "tests/src/cases/agent_soak.rs";
const SOURCES: &str = "tests/src/cases/agent_sources.rs";
const FULL_DISK: &str = "tests/src/cases/full_disk.rs";

/// Number, what happens, and the proof that the file stays right.
const CASES: [(u32, &str, Proof); 52] = [
    // Propagation and sources.
    (1, "the ConfigMap changes", Missing(&[(API, "every_change_of_the_config_map_reaches_the_file")])),
    (
        2,
        "fifty changes in a second",
        Missing(&[(API, "a_burst_ends_at_the_last_change_and_no_reader_sees_an_older_or_torn_file")]),
    ),
    (
        3,
        "only the mount is there",
        Missing(&[
            (MOUNT, "a_swap_of_the_mount_is_applied_by_the_event_alone"),
            (MOUNT, "a_swap_of_the_mount_is_applied_by_polling_alone"),
            (SOURCES, "mount_only"),
        ]),
    ),
    (4, "inotify cannot begin", Missing(&[(MOUNT, "a_swap_of_the_mount_is_applied_by_polling_alone")])),
    (5, "inotify's queue overflows", Missing(&[])),
    (6, "inotify tells only odd events", Missing(&[])),
    (
        7,
        "the mount is swapped between two keys",
        Missing(&[(READING, "keys_are_never_mixed_of_two_snapshots")]),
    ),
    (8, "the link of a key comes after the swap", Missing(&[])),
    (9, "the swap is told before the content is there", Missing(&[])),
    (
        10,
        "a subPath is mounted",
        Missing(&[(READING, "what_is_no_projected_volume_is_an_error_that_says_so")]),
    ),
    // Ordering.
    (
        11,
        "the mount lags behind the API",
        Missing(&[
            (MOUNT, "a_mount_that_lags_behind_the_api_is_ignored_and_causes_no_write_when_it_catches_up"),
            (ORDER, "a_mount_that_lags_is_ignored"),
        ]),
    ),
    (
        12,
        "the API is silent, the mount leads, the API returns",
        Missing(&[
            (API, "a_lower_generation_from_a_lagging_server_is_not_believed"),
            (MOUNT, "a_mount_that_is_ahead_does_not_lead_while_the_api_is_well"),
        ]),
    ),
    (
        13,
        "two contents of one generation",
        Missing(&[
            (API, "another_content_under_the_same_generation_is_taken_from_the_quorum"),
            (ORDER, "two_sources_that_disagree_do_not_flap"),
        ]),
    ),
    (
        14,
        "the ConfigMap is restored from a backup",
        Missing(&[
            (
                API,
                "a_restored_config_map_is_applied_once_the_quorum_confirms_it_and_the_mount_cannot_flip_it_back",
            ),
            (ORDER, "after_a_regress_the_mount_cannot_flip_back"),
        ]),
    ),
    (
        15,
        "the ConfigMap is deleted and made again",
        Missing(&[
            (API, "a_config_map_that_is_deleted_and_made_again_keeps_the_last_good_file_in_between"),
            (SOURCES, "config_map_deleted"),
        ]),
    ),
    (
        16,
        "the document is somebody else's",
        Missing(&[
            (API, "a_new_owner_counts_with_a_higher_generation_from_the_api"),
            (ORDER, "another_owner_counts_from_the_api_only"),
        ]),
    ),
    (
        17,
        "both sources in any order",
        Missing(&[(ORDER, "any_interleaving_ends_at_the_quorum_and_goes_down_only_when_confirmed")]),
    ),
    (18, "clocks jump", Missing(&[])),
    // Failures of the API.
    (
        19,
        "no API at the start, but a mount",
        Missing(&[(MOUNT, "with_the_api_down_at_the_start_the_mount_is_enough")]),
    ),
    (
        20,
        "neither at the start",
        Missing(&[
            (API, "without_any_document_the_agent_waits_and_starts_when_one_appears"),
            (MOUNT, "a_mount_that_appears_late_starts_the_agent"),
        ]),
    ),
    (21, "no API for ten minutes", Missing(&[("tests/src/cases/faults.rs", "api_server_away")])),
    (22, "half a connection", Missing(&[(API, "a_silent_watch_is_given_up_and_what_it_missed_is_applied")])),
    (
        23,
        "the watch ends as it should",
        Missing(&[(API, "a_watch_that_ends_is_resumed_where_it_was_without_a_read")]),
    ),
    (
        24,
        "410 Gone, and an error inside a watch",
        Missing(&[(API, "an_expired_watch_and_an_error_inside_a_watch_lead_to_a_new_read")]),
    ),
    (
        25,
        "429, 503, slow, huge and broken answers",
        Missing(&[(API, "garbage_from_the_api_changes_nothing")]),
    ),
    (26, "the token is rotated, or gone", Missing(&[])),
    (
        27,
        "the rights are taken away",
        Missing(&[(API, "rights_that_are_taken_away_make_the_mount_lead_until_they_are_back")]),
    ),
    (
        28,
        "what the API server lets an agent do",
        By(&[
            (RIGHTS, "only_its_own_config_map"),
            (API, "only_get_and_watch_of_the_one_name_are_ever_requested"),
        ]),
    ),
    (29, "a thousand agents and a restart of the API server", By(&[(CROWD, "thousand_agents")])),
    // Content.
    (
        30,
        "a document that says nothing",
        Missing(&[(CONTENT, "a_document_that_says_nothing_is_refused_with_the_right_reason")]),
    ),
    (
        31,
        "no endpoints at all",
        Missing(&[
            (CONTENT, "no_endpoints_at_all_is_fine_when_it_is_meant"),
            (PAYLOAD, "an_empty_document_counts_only_when_it_is_meant"),
        ]),
    ),
    (
        32,
        "a document cut at any byte",
        Missing(&[
            (CONTENT, "a_torn_document_is_never_applied"),
            (PAYLOAD, "a_document_cut_at_any_byte_is_refused"),
        ]),
    ),
    (33, "single bits flip", Missing(&[])),
    (
        34,
        "a gzip bomb, or broken gzip",
        Missing(&[
            (PAYLOAD, "a_gzip_bomb_is_refused_at_the_cap"),
            (CONTENT, "a_torn_gzip_in_the_mount_is_never_applied"),
        ]),
    ),
    (35, "as large as allowed, and one byte more", Missing(&[])),
    (36, "what Thanos would refuse", Missing(&[])),
    // The file system.
    (
        37,
        "the memory volume is full",
        Missing(&[(FILES, "what_was_remembered_is_written_once_the_file_can_be_written")]),
    ),
    (38, "no room at any step of a write", Missing(&[])),
    (
        39,
        "a folder or a file that cannot be written",
        Missing(&[
            (FILES, "a_write_that_fails_is_tried_again_until_it_works"),
            (FILES, "a_file_that_someone_altered_or_removed_is_written_again"),
        ]),
    ),
    (
        40,
        "killed at any step of a write",
        Missing(&[(FILES, "a_file_that_is_ahead_of_the_state_is_not_rolled_back")]),
    ),
    (
        41,
        "somebody reads all the time",
        Missing(&[(API, "a_burst_ends_at_the_last_change_and_no_reader_sees_an_older_or_torn_file")]),
    ),
    (
        42,
        "somebody else changes the file",
        By(&[(FILES, "a_file_that_someone_altered_or_removed_is_written_again")]),
    ),
    (
        43,
        "two agents in one folder",
        By(&[(FILES, "a_second_agent_in_the_same_folder_waits_says_why_and_takes_over")]),
    ),
    (44, "the node's disk is full", Missing(&[(FULL_DISK, "node_disk_full")])),
    (
        45,
        "the mount empties",
        Missing(&[
            (MOUNT, "a_mount_that_empties_or_vanishes_keeps_the_last_good_file"),
            (SOURCES, "config_map_deleted"),
        ]),
    ),
    // Life and death.
    (
        46,
        "the agent is killed three times",
        By(&[
            (LIFE, "killed"),
            (PROCESS, "a_killed_agent_resumes_from_its_state_and_the_file_does_not_change"),
        ]),
    ),
    (47, "the agent is told to stop", By(&[(PROCESS, "a_stopped_agent_exits_with_0_and_leaves_its_files")])),
    (48, "the pod is deleted", By(&[(LIFE, "outlives_thanos")])),
    (49, "Kubernetes without native sidecars", Missing(&[])),
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
            By(tests) | Missing(tests) => *tests,
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
            let (By(tests) | Missing(tests)) = proof else { return false };
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

#[test]
fn no_case_waits_for_its_tests() {
    let missing: Vec<String> = CASES
        .iter()
        .filter(|(_, _, proof)| matches!(proof, Missing(_)))
        .map(|(number, title, _)| format!("{number} ({title})"))
        .collect();
    assert!(missing.is_empty(), "{} cases wait for tests:\n{}", missing.len(), missing.join("\n"));
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
