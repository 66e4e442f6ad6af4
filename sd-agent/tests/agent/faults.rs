//! Every operation on files fails in turn: the file stays as it was, and the new one comes when the operation works.

use std::{fs, sync::Arc};

use sd_agent::{
    order::Witness,
    publish::Disk,
    state::{Kept, STATE_FILE},
};

use crate::{
    fake_api::NAME,
    support::{document, payload_of},
    writer::{
        EIO, ENOSPC, EPERM, EROFS, EXDEV, Fault, LIVE, Op, ScriptedFiles, Writer, file_of, memory_folder,
        names, remembered,
    },
};

/// Endpoints of a document here.
const SIZE: usize = 20;

/// A folder where generation 1 is applied.
fn at_generation_1() -> (tempfile::TempDir, Arc<ScriptedFiles>, Writer) {
    let folder = memory_folder();
    let files = Arc::new(ScriptedFiles::default());
    let mut writer = Writer::new(files.clone(), folder.path());
    writer.offer(1, SIZE);
    assert_eq!(writer.applied(), Some(1));
    files.work();
    (folder, files, writer)
}

fn holds(folder: &tempfile::TempDir, generation: u64) -> bool {
    fs::read(folder.path().join(LIVE)).expect("there") == file_of(generation, SIZE)
}

/// The operations that apply a document, in order.
fn operations_of_a_change() -> Vec<Op> {
    let (_folder, files, mut writer) = at_generation_1();
    writer.offer(2, SIZE);
    assert_eq!(writer.applied(), Some(2));
    files.seen()
}

fn faults_of(op: Op) -> Vec<Fault> {
    let mut faults: Vec<Fault> = [ENOSPC, EIO, EROFS, EPERM, EXDEV].map(Fault::Errno).to_vec();
    match op {
        Op::Write => faults.push(Fault::ShortWrite),
        Op::Read => faults.push(Fault::WrongBytes),
        _ => {}
    }
    faults
}

/// As `apply_errors` names it; none when the operation's failure changes nothing.
fn counted_as(op: Op, is_of_the_state: bool) -> Option<&'static str> {
    match op {
        Op::Stamp => None,
        Op::SyncFolder => Some("sync_folder"),
        _ if is_of_the_state => Some("state"),
        Op::Create | Op::Remove => Some("create"),
        Op::Write => Some("write"),
        Op::MakeReadable => Some("make_readable"),
        Op::Sync => Some("sync"),
        Op::Open | Op::Read => Some("verify"),
        Op::Rename => Some("rename"),
    }
}

/// Case 38.
#[test]
fn whatever_operation_fails_the_old_file_is_intact_and_the_new_one_comes_when_it_works_again() {
    let operations = operations_of_a_change();
    // What comes before only looks whether the file is right already.
    let made = operations.iter().position(|op| *op == Op::Create).expect("made");
    let renamed = operations.iter().position(|op| *op == Op::Rename).expect("renamed");
    let mut tried = vec![];
    for (at, op) in operations.iter().copied().enumerate() {
        for (fault, lasts) in faults_of(op).into_iter().flat_map(|fault| [(fault, false), (fault, true)]) {
            let case = format!("{op:?} ({at}) meets {fault:?}, lasting: {lasts}");
            let (folder, files, mut writer) = at_generation_1();
            files.fail(at, fault, lasts);
            writer.offer(2, SIZE);
            // Where a lasting fault begins, everything after it fails as well.
            let expected = if at <= renamed && (at >= made || lasts) { 1 } else { 2 };
            assert!(holds(&folder, expected), "{case}");
            assert_eq!(writer.applied(), Some(expected), "{case}");
            if let Some(op) = counted_as(op, at > renamed + 1).filter(|_| at >= made) {
                assert!(writer.counted(&format!("apply_errors_total{{op=\"{op}\"}} 1")), "{case}");
            }
            if !lasts {
                assert!(names(folder.path()).iter().all(|name| !name.ends_with(".tmp")), "{case}");
            }
            // Still broken: still no harm.
            if lasts {
                writer.go_on();
                assert!(holds(&folder, expected), "{case}");
            }
            files.work();
            writer.go_on();
            assert!(holds(&folder, 2), "{case}");
            assert_eq!((writer.applied(), remembered(folder.path())), (Some(2), Some(2)), "{case}");
            assert_eq!(names(folder.path()), [STATE_FILE, LIVE], "{case}");
            tried.push(op);
        }
    }
    let all =
        [Op::Create, Op::Write, Op::MakeReadable, Op::Sync, Op::Open, Op::Read, Op::Rename, Op::SyncFolder];
    assert!(all.iter().all(|op| tried.contains(op)), "{tried:?}");
}

/// Case 38: the temp file that a killed agent left cannot be removed.
#[test]
fn a_temp_file_that_cannot_be_removed_keeps_the_old_file() {
    let (folder, files, mut writer) = at_generation_1();
    fs::write(folder.path().join(".endpoints.yaml.tmp"), "left").expect("written");
    let removal = operations_of_a_change().iter().position(|op| *op == Op::Create).expect("made") + 1;
    files.fail(removal, Fault::Errno(EPERM), false);
    writer.offer(2, SIZE);
    assert_eq!(files.seen().get(removal), Some(&Op::Remove));
    assert!(holds(&folder, 1));
    assert!(writer.counted("apply_errors_total{op=\"create\"} 1"));
    files.work();
    writer.go_on();
    assert!(holds(&folder, 2));
    assert_eq!(names(folder.path()), [STATE_FILE, LIVE]);
}

/// Case 38: after a failed fsync the kernel may call pages clean that never reached the disk.
#[test]
fn after_a_failed_sync_the_bytes_are_written_again_into_a_new_file() {
    let (_folder, files, mut writer) = at_generation_1();
    let sync = operations_of_a_change().iter().position(|op| *op == Op::Sync).expect("synced");
    files.fail(sync, Fault::Errno(EIO), false);
    writer.offer(2, SIZE);
    assert_eq!(files.seen()[sync..], [Op::Sync, Op::Remove]);
    files.work();
    writer.go_on();
    let again = files.seen();
    let made = again.iter().position(|op| *op == Op::Create).expect("a new file");
    assert_eq!(again[made..made + 4], [Op::Create, Op::Write, Op::MakeReadable, Op::Sync]);
    assert_eq!(writer.applied(), Some(2));
}

/// A mount that shows what was given up must not bring it back, even when the restart met a broken disk.
#[test]
fn a_start_that_cannot_write_forgets_nothing_of_the_state() {
    let folder = memory_folder();
    let kept = Kept {
        config_map: NAME.to_owned(),
        payload: payload_of(5, &document(5, SIZE)),
        mount_floor: Some(9),
        applied_at: jiff::Timestamp::UNIX_EPOCH,
    };
    kept.save(&Disk, folder.path()).expect("written");
    let files = Arc::new(ScriptedFiles::default());
    let mut writer = Writer::new(files.clone(), folder.path());
    let mount =
        |generation| (payload_of(generation, &document(generation, SIZE)), Witness::Mount { may_lead: true });
    // The first that a start writes; what it reads works.
    let restored_in = {
        let copy = memory_folder();
        kept.save(&Disk, copy.path()).expect("written");
        let files = Arc::new(ScriptedFiles::default());
        Writer::new(files.clone(), copy.path()).keeper.restore();
        files.seen().iter().position(|op| *op == Op::Create).expect("written")
    };
    files.fail(restored_in, Fault::Errno(EROFS), true);
    writer.keeper.restore();
    assert!(!folder.path().join(LIVE).exists());
    assert_eq!((writer.applied(), writer.board.not_started().is_some()), (None, true));
    for generation in [4, 8] {
        let (payload, witness) = mount(generation);
        writer.keeper.offer(payload, witness);
    }
    files.work();
    writer.go_on();
    assert!(holds(&folder, 5));
    assert_eq!((writer.applied(), writer.board.not_started()), (Some(5), None));
    assert_eq!(writer.board.report().applied.expect("applied").source, "state");
    let (payload, witness) = mount(8);
    writer.keeper.offer(payload, witness);
    assert_eq!(writer.applied(), Some(5));
    // What is learnt next must not cost the floor either. Below it only the quorum is believed.
    let next = payload_of(6, &document(6, SIZE));
    writer.keeper.offer(next, Witness::Api { confirmed: true });
    let now = Kept::load(&Disk, folder.path(), NAME).expect("whole").expect("there");
    assert_eq!((writer.applied(), now.mount_floor), (Some(6), Some(9)));
}

/// Case 42, while nobody knows whether the file or the state is the newer.
#[test]
fn a_file_that_was_ahead_of_the_state_is_repaired_from_the_state_once_it_is_gone() {
    let (folder, _, mut writer) = at_generation_1();
    let state = fs::read(folder.path().join(STATE_FILE)).expect("there");
    writer.offer(2, SIZE);
    fs::write(folder.path().join(STATE_FILE), state).expect("written");
    let mut writer = Writer::new(Arc::new(Disk), folder.path());
    writer.keeper.restore();
    writer.go_on();
    assert!(holds(&folder, 2));
    fs::remove_file(folder.path().join(LIVE)).expect("removed");
    writer.go_on();
    assert!(holds(&folder, 1));
    writer.offer(2, SIZE);
    assert!(holds(&folder, 2));
}

#[test]
fn the_state_of_another_config_map_is_not_taken_up() {
    let folder = memory_folder();
    let config_map = "another".to_owned();
    let payload = payload_of(50, &document(50, SIZE));
    let kept = Kept { config_map, payload, mount_floor: None, applied_at: jiff::Timestamp::UNIX_EPOCH };
    kept.save(&Disk, folder.path()).expect("written");
    let mut writer = Writer::new(Arc::new(Disk), folder.path());
    writer.keeper.restore();
    assert_eq!(writer.applied(), None);
    writer.offer(1, SIZE);
    assert_eq!((writer.applied(), remembered(folder.path())), (Some(1), Some(1)));
}
