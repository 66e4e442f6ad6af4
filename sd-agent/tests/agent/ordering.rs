//! Which document counts when the sources disagree, by whole agents under a stopped clock.

use jiff::{SignedDuration, Timestamp};
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use sd_agent::Payload;
use tokio::time::sleep;

use crate::{
    scripted_api::{ScriptedApi, Way},
    support::{Pod, document, generation_of, payload, payload_of},
    timed::{Timed, seconds, started},
};

fn written_at(generation: u64, at: Timestamp) -> Payload {
    Payload::pack(&document(generation, 2), "owner", generation, at).expect("fits")
}

/// Case 13.
#[tokio::test(start_paused = true)]
async fn a_thousand_alternations_of_a_mount_that_disagrees_change_nothing() {
    let (api, mut pod) = (ScriptedApi::start(), Pod::new());
    let (of_api, other) = (payload(10), payload_of(10, &document(99, 1)));
    api.put(&of_api);
    let agent = Timed::start(&pod, &api, &[]);
    agent.applies(10, seconds(3)).await;
    let (text, inode) = (pod.text(), pod.inode());
    // With the API in charge, and without it.
    for way in [Way::Open, Way::Refused] {
        if way == Way::Refused {
            api.kill();
            sleep(seconds(60)).await;
        }
        let conflicts = agent.board.metrics.conflicts.get();
        for round in 0..500 {
            pod.mount.show(if round % 2 == 0 { &other } else { &of_api });
            // Longer than from one look at the mount to the next.
            sleep(seconds(3)).await;
        }
        assert_eq!((pod.text(), pod.inode()), (text.clone(), inode));
        assert_eq!(agent.board.metrics.conflicts.get() - conflicts, 250);
    }
}

/// Case 14, with a server that has not heard of the restored document yet.
#[tokio::test(start_paused = true)]
async fn what_was_given_up_does_not_come_back_from_a_cache_that_lags() {
    let (api, pod, agent) = started(10).await;
    api.put(&payload(5));
    agent.applies(5, seconds(1)).await;
    let inode = pod.inode();
    api.lag_at(&payload(10));
    api.break_watches();
    sleep(seconds(60)).await;
    assert_eq!((agent.generation(), pod.inode()), (5, inode));
    assert_eq!(agent.board.metrics.regressions.get(), 1);
    // A number that was used before is taken from the quorum.
    api.catch_up();
    api.put(&payload(6));
    agent.applies(6, seconds(1)).await;
}

/// Case 16: the mount may still show what a ThanosQuery before this one had.
#[tokio::test(start_paused = true)]
async fn a_foreign_owner_is_never_taken_from_the_mount() {
    let (api, mut pod, agent) = started(10).await;
    let inode = pod.inode();
    let foreign = |generation| {
        Payload::pack(&document(generation, 2), "other", generation, Timestamp::now()).expect("fits")
    };
    pod.mount.show(&foreign(99));
    sleep(seconds(10)).await;
    api.kill();
    sleep(seconds(120)).await;
    pod.mount.show(&foreign(100));
    sleep(seconds(10)).await;
    assert_eq!(agent.report().mount.generation, Some(100));
    assert_eq!((agent.generation(), pod.inode()), (10, inode));
    // From the API with a lower number only when the quorum says so, too.
    api.put(&foreign(3));
    api.way(Way::Open);
    agent.applies(3, seconds(35)).await;
    assert_eq!(agent.board.metrics.regressions.get(), 1);
}

/// Case 18.
#[tokio::test(start_paused = true)]
async fn clocks_that_jump_by_an_hour_change_no_order_and_no_number_is_negative() {
    let (api, mut pod) = (ScriptedApi::start(), Pod::new());
    let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
    api.put(&written_at(10, now + hour));
    let agent = Timed::start(&pod, &api, &[]);
    agent.applies(10, seconds(3)).await;
    // The mount's is written later and is older all the same.
    pod.mount.show(&written_at(9, now + hour * 2));
    sleep(seconds(10)).await;
    assert_eq!(agent.generation(), 10);
    for (generation, at) in [(11, now - hour), (12, now + hour), (13, now)] {
        api.put(&written_at(generation, at));
        agent.applies(generation, seconds(1)).await;
    }
    let text = agent.board.metrics_text();
    let value = |series: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.and_then(|value| value.trim().parse().ok()).expect("the series")
    };
    assert_eq!(value("sd_agent_propagation_seconds_count "), 4.0);
    // Two of the future took no time; the sum is the hour of the one of the past, and the moments of this test.
    assert!(value("sd_agent_propagation_seconds_bucket{le=\"0.001\"} ") >= 2.0, "{text}");
    assert!((3600.0..3700.0).contains(&value("sd_agent_propagation_seconds_sum ")), "{text}");
}

/// Case 15, for longer than a watch lives.
#[tokio::test(start_paused = true)]
async fn a_config_map_that_is_gone_is_told_as_gone_until_it_is_back() {
    let (api, pod, agent) = started(1).await;
    let text = pod.text();
    api.delete();
    for _ in 0..1000 {
        sleep(seconds(1)).await;
        let report = agent.report();
        assert!(!report.api.up && report.api.error.is_some(), "{report:?}");
    }
    assert_eq!(pod.text(), text);
    api.put(&payload(2));
    agent.applies(2, seconds(6)).await;
    agent.within(seconds(1), "the API is told as up", |report| report.api.up).await;
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// The operator writes the next generation.
    Write,
    /// Someone restores a backup.
    Restore(u64),
    /// The mount catches up with some write.
    Mount(Index),
    /// A watch says something old again.
    Echo(Index),
    Kill,
    Silence,
    Hang,
    Lag,
    Mend,
    End,
    Reread,
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Write),
        1 => (1u64..5).prop_map(Act::Restore),
        4 => any::<Index>().prop_map(Act::Mount),
        1 => any::<Index>().prop_map(Act::Echo),
        1 => Just(Act::Kill),
        1 => Just(Act::Silence),
        1 => Just(Act::Hang),
        1 => Just(Act::Lag),
        2 => Just(Act::Mend),
        1 => Just(Act::End),
        1 => Just(Act::Reread),
        4 => prop_oneof![Just(0), Just(1), Just(5), Just(40), Just(120)].prop_map(Act::Wait),
    ]
}

/// An agent is watched while everything around it happens.
struct Play {
    api: ScriptedApi,
    pod: Pod,
    agent: Timed,
    /// All that was ever written. Contents follow from the place here, so a number that is used twice is a conflict.
    history: Vec<Payload>,
    generation: u64,
    /// What the last look saw: generation and confirmed steps back.
    seen: (u64, u64),
}

impl Play {
    fn start() -> Self {
        let (api, pod) = (ScriptedApi::start(), Pod::new());
        let agent = Timed::start(&pod, &api, &[]);
        let mut play = Self { api, pod, agent, history: vec![], generation: 1, seen: (0, 0) };
        play.write();
        play
    }

    fn write(&mut self) {
        let document = document(self.generation, 2 + self.history.len());
        let payload = payload_of(self.generation, &document);
        self.api.put(&payload);
        self.history.push(payload);
    }

    async fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match act {
            Act::Write => {
                self.generation += 1;
                self.write();
            }
            Act::Restore(steps) => {
                self.generation = self.generation.saturating_sub(*steps).max(1);
                self.write();
            }
            Act::Mount(index) => self.pod.mount.show(index.get(&self.history)),
            Act::Echo(index) => self.api.send_event(index.get(&self.history)),
            Act::Kill => self.api.kill(),
            Act::Silence => self.api.way(Way::Silent),
            Act::Hang => self.api.hang_watches(),
            Act::Lag => self.api.lag(),
            Act::Mend => self.mend(),
            Act::End => self.api.end_watches(),
            Act::Reread => self.agent.reread.notify_one(),
            Act::Wait(count) => {
                for _ in 0..*count {
                    sleep(seconds(1)).await;
                    self.look()?;
                }
            }
        }
        self.look()
    }

    fn mend(&self) {
        self.api.way(Way::Open);
        self.api.catch_up();
    }

    fn look(&mut self) -> Result<(), TestCaseError> {
        let now = (self.agent.generation(), self.agent.board.metrics.regressions.get());
        // Nothing is written while the agent works, so what the quorum says is what was written last.
        let is_confirmed = now.1 > self.seen.1 && now.0 == self.generation;
        prop_assert!(now.0 >= self.seen.0 || is_confirmed, "from {:?} to {now:?}", self.seen);
        prop_assert_eq!(now.0, generation_of(&self.pod.text()).unwrap_or_default());
        self.seen = now;
        Ok(())
    }
}

/// Case 17, over whole agents; the pure rule has its own in `order.rs`.
#[test]
fn any_interleaving_ends_at_what_the_api_has_and_goes_down_only_when_confirmed() {
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let acts = proptest::collection::vec(act(), 0..40);
    let played = TestRunner::new(config).run(&acts, |acts| {
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        clock.expect("a runtime").block_on(async {
            let mut play = Play::start();
            for act in &acts {
                play.act(act).await?;
            }
            play.mend();
            // Longer than the longest time between two reads.
            play.act(&Act::Wait(400)).await?;
            let applied = play.agent.report().applied.expect("applied");
            let last = play.history.last().expect("written").meta().expect("valid");
            prop_assert_eq!((applied.generation, applied.sha256), (last.generation, last.sha256));
            Ok(())
        })
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}
