//! SIGKILL in the middle of everything.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use sd_agent::{publish::Disk, state::STATE_FILE};

use crate::{
    fake_api::FakeApi,
    process::Agent,
    support::{Pod, eventually, generation_of, payload},
    writer::{
        Fault, LIVE, STOPPED, ScriptedFiles, Writer, file_of, memory_folder, names, remembered,
        stop_after_printing,
    },
};

const KILLS: usize = 1_000;
const WORKERS: usize = 4;
/// Where the writer of a child process works, on which generation, and before which operation it stops.
const JOB: &str = "SD_AGENT_TEST_JOB";
const FINISHED: &str = "finished";

/// A child that does not outlive its test.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        // SIGKILL.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn size_of(generation: u64) -> usize {
    [2, 20, 200][generation as usize % 3]
}

/// What [`a_writer_killed_at_any_step_leaves_whole_files_and_the_next_one_goes_on`] runs as a process.
#[test]
#[ignore = "only the test that kills it starts it"]
fn the_writer_that_is_killed() {
    let Ok(job) = std::env::var(JOB) else { return };
    let (folder, generation, stop_at): (PathBuf, u64, usize) = serde_json::from_str(&job).expect("a job");
    let files = Arc::new(ScriptedFiles::default());
    files.fail(stop_at, Fault::Stop, true);
    let mut writer = Writer::new(files, &folder);
    writer.keeper.restore();
    writer.offer(generation, size_of(generation));
    stop_after_printing(FINISHED);
}

/// Starts a writer, waits until it is before operation `stop_at`, and kills it. False when it has fewer operations.
fn kill_before(stop_at: usize, folder: &Path, generation: u64) -> bool {
    let job = serde_json::to_string(&(folder, generation, stop_at)).expect("JSON");
    let child = Command::new(std::env::current_exe().expect("a test"))
        .args(["--exact", "kills::the_writer_that_is_killed", "--include-ignored", "--nocapture"])
        .env(JOB, job)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test starts");
    let mut victim = Victim(child);
    let lines = BufReader::new(victim.0.stdout.take().expect("piped")).lines();
    let mut lines = lines.map(|line| line.expect("text"));
    let last = lines.find(|line| line == STOPPED || line == FINISHED).expect("it says how far it came");
    drop(victim);
    last == STOPPED
}

/// Kills `kills` writers in one folder, one operation later every time.
fn kill_one_step_later_each_time(kills: usize) {
    let folder = memory_folder();
    let folder = folder.path();
    let (mut stop_at, mut generation, mut killed_inside) = (0, 0, 0);
    for _ in 0..kills {
        generation += 1;
        let is_inside = kill_before(stop_at, folder, generation);
        let case = format!("generation {generation} killed before operation {stop_at}");
        let live = fs::read(folder.join(LIVE)).ok();
        let (old, new) = (generation - 1, generation);
        let of = |generation: u64| (generation > 0).then(|| file_of(generation, size_of(generation)));
        let is_new = live == of(new);
        assert!(is_new || live == of(old), "{case}: the file is neither the old nor the new");
        let state = remembered(folder).unwrap_or_default();
        assert!(state == old || state == new && is_new, "{case}: the state is at {state}");
        assert!(is_inside || state == new, "{case}: it was finished");

        let mut next = Writer::new(Arc::new(Disk), folder);
        next.keeper.restore();
        assert!(names(folder).iter().all(|name| !name.ends_with(".tmp")), "{case}: {:?}", names(folder));
        assert!(fs::read(folder.join(LIVE)).ok() == live, "{case}: the next start changed the file");
        next.offer(new, size_of(new));
        assert!(fs::read(folder.join(LIVE)).ok() == of(new), "{case}: the new file did not come");
        assert_eq!((next.applied(), remembered(folder)), (Some(new), Some(new)), "{case}");
        assert_eq!(names(folder), [STATE_FILE, LIVE], "{case}");
        killed_inside += usize::from(is_inside);
        stop_at = if is_inside { stop_at + 1 } else { 0 };
    }
    assert!(killed_inside > kills * 9 / 10, "only {killed_inside} of {kills} were killed before the end");
}

/// Case 40.
#[test]
fn a_writer_killed_at_any_step_leaves_whole_files_and_the_next_one_goes_on() {
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| kill_one_step_later_each_time(KILLS / WORKERS));
        }
    });
}

/// Case 40.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_killed_again_and_again_never_goes_back_and_ends_at_the_newest_document() {
    const ROUNDS: u64 = 40;
    let (api, pod) = (FakeApi::start().await, Pod::new());
    let newest = Arc::new(AtomicU64::new(0));
    let stream = tokio::spawn({
        let (api, newest) = (api.clone(), Arc::clone(&newest));
        async move {
            for generation in 1.. {
                api.put(&payload(generation));
                newest.store(generation, Ordering::Release);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let mut before = 0;
    let mut moved = 0;
    for round in 0..ROUNDS {
        let agent = Agent::start(&pod, &api);
        // Some during the start, most in the middle of the changes; not in step with anything.
        if round % 4 > 0 {
            eventually("it goes on", async || generation_of(&pod.text()).filter(|now| *now > before)).await;
        }
        tokio::time::sleep(Duration::from_micros(round * 7919 % 9000)).await;
        drop(agent);
        let Some(now) = generation_of(&pod.text()) else {
            assert!(before == 0 && !pod.output().exists(), "round {round}: {}", pod.text());
            continue;
        };
        assert!(now >= before, "round {round}: from {before} back to {now}");
        let state = remembered(&pod.root().join("sd")).unwrap_or_default();
        assert!(state <= now, "round {round}: the state is at {state}, the file at {now}");
        moved += u64::from(now > before);
        before = now;
    }
    stream.abort();
    let _ = stream.await;
    assert!(moved > ROUNDS / 2, "only {moved} rounds changed anything");
    let newest = newest.load(Ordering::Acquire);
    let agent = Agent::start(&pod, &api);
    agent.applied(newest).await;
    assert_eq!(generation_of(&pod.text()), Some(newest));
    assert_eq!(names(&pod.root().join("sd")), [".lock", STATE_FILE, LIVE]);
}
