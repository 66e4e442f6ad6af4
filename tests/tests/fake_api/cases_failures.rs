//! The API refuses, is slow, or does not answer.

use std::time::Duration;

use crate::fake_api::{FakeApi, Fault, Running, bad_store, query, seconds, store, strict};

const CONFIG_MAP: &str = "patch demo/configmaps/thanos-query-global-endpoints";

async fn at_rest() -> (FakeApi, Running) {
    let api = FakeApi::new();
    api.apply(query("global", ""));
    api.apply(query("other", ""));
    api.apply(store("a"));
    let operator = api.operator().await;
    api.eventually(|| api.has("demo/deployments/thanos-query-global")).await;
    api.eventually(|| api.has("demo/deployments/thanos-query-other")).await;
    seconds(10).await;
    api.forget_requests();
    (api, operator)
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_never_answered_is_given_up_and_retried_later_and_later() {
    let (api, _operator) = at_rest().await;
    let mute = api.inject(CONFIG_MAP, Fault::Hold);
    api.apply(store("b"));
    api.eventually(|| api.endpoints("other") == ["a", "b"]).await;
    seconds(120).await;
    let tries: Vec<Duration> = api
        .requests("patch", "configmaps/thanos-query-global")
        .windows(2)
        .map(|two| two[1].at - two[0].at)
        .collect();
    assert!(tries.len() >= 3, "{tries:?}");
    assert!(tries[0] >= Duration::from_secs(11) && tries.is_sorted(), "{tries:?}");
    let told = api.events().into_iter().filter(|event| event.starts_with("ApplyFailed global")).count();
    assert_eq!(told, 1, "{:#?}", api.events());
    mute.lift();
    seconds(300).await;
    assert_eq!(api.endpoints("global"), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_not_written_twice() {
    let (api, _operator) = at_rest().await;
    api.inject_once(CONFIG_MAP, Fault::LoseAnswer);
    api.apply(store("b"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    seconds(60).await;
    assert_eq!(api.writes()[CONFIG_MAP], 1);
    api.apply(store("c"));
    api.eventually(|| api.endpoints("global") == ["a", "b", "c"]).await;
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_refusal_is_retried_until_it_works() {
    for code in [403, 429, 500] {
        for request in ["patch configmaps", "patch deployments", "get services", "patch global/status"] {
            let api = FakeApi::new();
            api.apply(query("global", ""));
            api.apply(store("a"));
            let refused = api.inject(request, Fault::Code(code));
            let _operator = api.operator().await;
            seconds(30).await;
            refused.lift();
            seconds(60).await;
            let is_done = api.has("demo/deployments/thanos-query-global")
                && api.endpoints("global") == ["a"]
                && api.condition("global", "Ready").is_some();
            assert!(is_done, "{code} {request}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_event_of_a_refusal_says_what_the_api_said() {
    let (api, _operator) = at_rest().await;
    api.inject(CONFIG_MAP, Fault::Code(403));
    api.apply(store("b"));
    api.eventually(|| !api.events().is_empty()).await;
    let wanted =
        "ApplyFailed global: failed to apply ConfigMap demo/thanos-query-global-endpoints: injected 403";
    assert_eq!(api.events(), [wanted]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_api_loses_nothing() {
    let (api, _operator) = at_rest().await;
    api.inject("", Fault::Delay(Duration::from_secs(2)));
    for name in ["b", "c", "d"] {
        api.apply(store(name));
        seconds(1).await;
    }
    api.delete("demo/services/a");
    seconds(60).await;
    assert_eq!(api.endpoints("global"), ["b", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn events_that_cannot_be_sent_hold_nothing_up() {
    let (api, _operator) = at_rest().await;
    api.inject("post events", Fault::Hold);
    for round in 0..10 {
        api.apply(bad_store(&format!("bad{round}")));
    }
    api.eventually(|| !api.requests("post", "events").is_empty()).await;
    api.apply(store("b"));
    seconds(3).await;
    assert_eq!(api.endpoints("global"), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_cannot_be_written_holds_no_endpoint_up() {
    let (api, _operator) = at_rest().await;
    api.inject("patch global/status", Fault::Code(500));
    api.apply(bad_store("bad"));
    seconds(100).await;
    let before = tokio::time::Instant::now();
    api.apply(store("b"));
    api.eventually(|| api.endpoints("global") == ["a", "b"]).await;
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn watches_that_are_cut_again_and_again_lose_nothing() {
    let (api, _operator) = at_rest().await;
    for round in 0..10 {
        api.apply(store(&format!("b{round}")));
        api.cut_watches();
        if round % 3 == 0 {
            api.compact();
        }
        seconds(7).await;
    }
    api.delete("demo/services/a");
    seconds(120).await;
    assert_eq!(api.endpoints("global").len(), 10, "{:?}", api.endpoints("global"));
    assert_eq!(api.endpoints("other"), api.endpoints("global"));
}

#[tokio::test(start_paused = true)]
async fn faults_at_random_lose_no_endpoint() {
    for seed in 0..8_u64 {
        let (api, _operator) = at_rest().await;
        let mut dice = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut throw = |sides: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice % sides
        };
        for round in 0..40_u32 {
            let name = format!("b{}", throw(8));
            match throw(3) {
                0 if api.has(&format!("demo/services/{name}")) => {
                    api.delete(&format!("demo/services/{name}"))
                }
                1 => api.apply(strict(&name)),
                _ => api.apply(store(&name)),
            }
            let request = [
                "patch configmaps",
                "patch deployments",
                "get ",
                "watch services",
                "list services",
                "patch ",
            ][usize::try_from(throw(6)).expect("small")];
            let fault =
                [Fault::LoseAnswer, Fault::Code(409), Fault::Code(500), Fault::Code(429), Fault::Hold]
                    [usize::try_from(throw(5)).expect("small")];
            api.inject_once(request, fault);
            match throw(6) {
                0 => api.cut_watches(),
                1 => {
                    api.compact();
                    api.cut_watches();
                }
                2 => api.edit("demo/configmaps/thanos-query-global-endpoints", |object| {
                    object["metadata"]["annotations"]["round"] = round.to_string().into();
                }),
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(throw(4000))).await;
        }
        api.lift_all();
        seconds(900).await;
        let services: Vec<String> = (0..8)
            .map(|n| format!("b{n}"))
            .filter(|name| api.has(&format!("demo/services/{name}")))
            .collect();
        let wanted: Vec<String> = ["a".to_owned()].into_iter().chain(services).collect();
        assert_eq!(api.endpoints("global"), wanted, "seed {seed}");
        assert_eq!(api.endpoints("other"), wanted, "seed {seed}");
        let strict = wanted.iter().filter(|name| {
            api.get(&format!("demo/services/{name}"))["metadata"]["labels"]["operator.thanos.io/endpoint-strict"]
                == "true"
        });
        assert_eq!(api.flags("global", "--endpoint-strict").len(), strict.count(), "seed {seed}");
        api.forget_requests();
        seconds(600).await;
        assert!(api.writes().is_empty(), "seed {seed}: {:?}", api.writes());
    }
}
