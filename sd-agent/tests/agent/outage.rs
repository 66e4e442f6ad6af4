//! The API goes and comes back, under a stopped clock and with the documented spans.

use std::{sync::Arc, time::Duration};

use sd_agent::{
    agent::new_board,
    api::{ApiSource, Connect},
    exchange::Exchange,
    timing::Timing,
};
use tokio::time::{Instant, sleep};

use crate::{
    fake_api::{NAME, NAMESPACE},
    scripted_api::{ScriptedApi, Way},
    support::{Pod, payload, run_args},
    timed::{SOON, Timed, seconds, started},
};

/// The longest wait between two tries, and a try that is not answered.
const RECOVERY: Duration = Duration::from_secs(35);

/// Case 21.
#[tokio::test(start_paused = true)]
async fn ten_minutes_without_the_api_change_nothing_and_its_return_is_seen_soon() {
    let (api, pod, agent) = started(1).await;
    for (generation, way) in [(2, Way::Refused), (3, Way::Silent), (4, Way::Refused)] {
        let (text, inode) = (pod.text(), pod.inode());
        api.kill();
        api.way(way);
        agent.within(SOON, "the API is told as down", |report| !report.api.up).await;
        let tries = api.tries().len();
        sleep(seconds(600)).await;
        assert_eq!((pod.text(), pod.inode()), (text, inode));
        let tries = api.tries().len() - tries;
        assert!((15..=100).contains(&tries), "{tries} tries in ten minutes");
        api.put(&payload(generation));
        api.way(Way::Open);
        agent.applies(generation, RECOVERY).await;
        agent.within(SOON, "the API is told as up", |report| report.api.up).await;
    }
}

/// Case 12.
#[tokio::test(start_paused = true)]
async fn without_the_api_for_half_a_minute_the_mount_leads_until_the_api_shows_more() {
    let (api, mut pod) = (ScriptedApi::start(), Pod::new());
    api.put(&payload(10));
    pod.mount.show(&payload(10));
    let agent = Timed::start(&pod, &api, &[]);
    agent.applies(10, seconds(3)).await;
    agent.within(seconds(3), "the API is up", |report| report.api.up).await;
    let regressions = || agent.board.metrics.regressions.get();

    api.kill();
    pod.mount.show(&payload(11));
    let took = agent.applies(11, seconds(36)).await;
    assert!(took >= seconds(30), "the mount led after {took:?}");
    assert_eq!(agent.source(), "mount");
    api.put(&payload(12));
    api.way(Way::Open);
    agent.applies(12, RECOVERY).await;
    assert_eq!((agent.source().as_str(), regressions()), ("api", 0));

    // It comes back with a cache that lags: only the quorum knows better.
    api.kill();
    pod.mount.show(&payload(13));
    agent.applies(13, seconds(36)).await;
    api.lag();
    api.put(&payload(14));
    api.way(Way::Open);
    agent.applies(14, RECOVERY).await;
    assert_eq!((agent.source().as_str(), regressions()), ("api", 0));
    let (_, last_read) =
        api.tries().into_iter().rfind(|(_, uri)| uri.path().ends_with(NAME)).expect("a read");
    assert_eq!(last_read.query().unwrap_or_default(), "");
}

/// A server that stops ends its watches in order.
#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_before_its_time_is_told_as_down_from_then_on() {
    let (api, mut pod, agent) = started(1).await;
    sleep(seconds(65)).await;
    let reads = api.reads();
    api.end_watches();
    sleep(seconds(13)).await;
    assert!(agent.report().api.up);
    assert_eq!((agent.restarts("ended"), api.reads()), (1, reads), "it goes on where it was");
    // When nobody is there to go on with, the half minute of the mount runs since the end.
    api.way(Way::Refused);
    api.end_watches();
    pod.mount.show(&payload(2));
    sleep(SOON).await;
    assert!(!agent.report().api.up);
    let took = SOON + agent.applies(2, seconds(36)).await;
    assert!(took >= seconds(30), "the mount led after {took:?}");
}

/// Case 22.
#[tokio::test(start_paused = true)]
async fn a_half_open_watch_is_noticed_within_90_seconds_and_what_it_missed_is_applied() {
    let (api, _pod, agent) = started(1).await;
    // Just after a bookmark: the worst moment.
    sleep(seconds(61)).await;
    api.hang_watches();
    api.put(&payload(2));
    sleep(seconds(25)).await;
    assert!(agent.report().api.up, "bookmarks come once a minute");
    agent.within(seconds(90 - 25), "the silence is noticed", |_| agent.restarts("silent") == 1).await;
    agent.applies(2, seconds(13)).await;
    agent.within(SOON, "the API is told as up", |report| report.api.up).await;
}

/// The watch is dead and nobody knows it, but kubelet saw the change.
#[tokio::test(start_paused = true)]
async fn a_mount_that_is_ahead_makes_the_agent_ask_the_api_at_once() {
    let (api, mut pod, agent) = started(1).await;
    api.hang_watches();
    api.put(&payload(2));
    pod.mount.show(&payload(2));
    agent.applies(2, seconds(3)).await;
    assert_eq!(agent.source(), "api");
}

/// A server that was cut off from etcd: nobody takes what only the mount shows from it.
#[tokio::test(start_paused = true)]
async fn a_mount_that_is_ahead_does_not_lead_while_the_quorum_says_otherwise() {
    let (api, mut pod, agent) = started(1).await;
    let reads = api.reads();
    pod.mount.show(&payload(2));
    sleep(seconds(200)).await;
    assert_eq!((agent.generation(), api.reads()), (1, reads + 1), "one read a change of the mount");
}

#[tokio::test(start_paused = true)]
async fn a_hangup_ends_the_wait_for_the_api() {
    let (api, _pod, agent) = started(1).await;
    api.kill();
    sleep(seconds(300)).await;
    api.put(&payload(2));
    api.way(Way::Open);
    agent.reread.notify_one();
    agent.applies(2, SOON).await;
}

/// Case 29, the agents' part of it: their API server is restarted in each of the ways in which that looks different.
#[tokio::test(start_paused = true)]
async fn a_thousand_agents_come_back_spread_over_ten_seconds() {
    let api = ScriptedApi::start();
    api.put(&payload(1));
    let (client, args) = (api.client(), run_args(Pod::new().arguments(&[])));
    for _ in 0..1000 {
        let source = ApiSource {
            connect: Connect::Given(client.clone()),
            namespace: Some(NAMESPACE.to_owned()),
            name: NAME.to_owned(),
            timing: Timing::default(),
            exchange: Arc::new(Exchange::new(true, true)),
            board: new_board(&args),
        };
        tokio::spawn(source.run());
    }
    let breaks: [(&str, &dyn Fn()); 3] = [
        ("killed, and another takes over", &|| api.break_watches()),
        ("stopped in order, and another takes over", &|| api.end_watches()),
        ("away for a while", &|| api.kill()),
    ];
    for (what, cut) in breaks {
        sleep(seconds(40)).await;
        assert_eq!(api.open_watches(), 1000, "{what}");
        cut();
        sleep(seconds(5)).await;
        let back = if what.contains("while") { Instant::now() } else { Instant::now() - seconds(5) };
        api.way(Way::Open);
        sleep(seconds(40)).await;
        let moments: Vec<Duration> = api
            .tries()
            .into_iter()
            .filter(|(at, uri)| *at >= back && uri.query().is_some_and(|query| query.contains("watch=true")))
            .map(|(at, _)| at - back)
            .collect();
        assert_eq!(moments.len(), 1000, "{what}");
        let (first, last) = (moments.iter().min().expect("some"), moments.iter().max().expect("some"));
        assert!(*last - *first >= seconds(10), "{what}: from {first:?} to {last:?}");
        assert!(*last <= RECOVERY, "{what}: the last came after {last:?}");
        let busiest = (0..40).map(|second| moments.iter().filter(|at| at.as_secs() == second).count()).max();
        assert!(busiest < Some(150), "{what}: {busiest:?} in one second");
    }
}

/// Case 27 is in `api.rs`; this is who may ask whom.
#[tokio::test(start_paused = true)]
async fn an_agent_with_one_source_never_touches_the_other() {
    let (api, mut pod) = (ScriptedApi::start(), Pod::new());
    api.put(&payload(1));
    pod.mount.show(&payload(2));
    let agent = Timed::start(&pod, &api, &["--source=api"]);
    agent.applies(1, SOON).await;
    api.kill();
    sleep(seconds(300)).await;
    agent.reread.notify_one();
    sleep(seconds(300)).await;
    assert_eq!((agent.generation(), agent.report().mount.generation), (1, None));
    drop(agent);

    let (api, mut pod) = (ScriptedApi::start(), Pod::new());
    api.put(&payload(2));
    pod.mount.show(&payload(1));
    let agent = Timed::start(&pod, &api, &["--source=mount"]);
    agent.applies(1, SOON).await;
    agent.reread.notify_one();
    pod.mount.show(&payload(3));
    agent.applies(3, seconds(3)).await;
    sleep(seconds(600)).await;
    assert_eq!(api.tries(), []);
    assert_eq!(agent.report().api.generation, None);
}
