//! Numbers, not verdicts. Run with
//! `cargo test --release -p sd-agent --test agent -- --ignored --nocapture --test-threads=1 measure`.

use std::{fs, os::unix::fs::MetadataExt, path::Path, time::Instant};

use sd_agent::{Document, Endpoint, Payload};

use crate::{
    fake_api::FakeApi,
    process::Agent,
    support::{Pod, document, payload_of},
};

/// A field of `/proc/<pid>/status`, in KiB.
pub fn memory(agent: &Agent, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the field");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// About 1 MB of JSON in the ConfigMap, of which no two endpoints look alike.
fn large(generation: u64) -> Payload {
    let name = |index: u64| sd_agent::payload::sha256_hex(&index.to_le_bytes());
    let first = std::iter::once(format!("store-{generation}.demo.svc:10901"));
    let others = (0..9000).map(|index| {
        let name = name(index);
        format!("dnssrv+_grpc._tcp.thanos-store-{}.tenant-{}.svc.cluster.local", &name[..8], &name[8..12])
    });
    let endpoints = first.chain(others);
    let endpoints = endpoints.map(|text| Endpoint::regular(text.parse().expect("an address"))).collect();
    payload_of(generation, &Document::new(endpoints).expect("valid"))
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.ino())
}

/// Milliseconds from the change in the API server to the new file, sorted.
async fn latencies(api: &FakeApi, pod: &Pod, payloads: impl Iterator<Item = Payload>) -> Vec<f64> {
    let mut all = Vec::new();
    for payload in payloads {
        let (path, before) = (pod.output(), inode(&pod.output()));
        let begun = Instant::now();
        api.put(&payload);
        let watch = tokio::task::spawn_blocking(move || {
            while inode(&path) == before {
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
            begun.elapsed()
        });
        all.push(watch.await.expect("no panic").as_secs_f64() * 1000.0);
        // Not in step with anything.
        tokio::time::sleep(std::time::Duration::from_millis(7)).await;
    }
    all.sort_by(f64::total_cmp);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures memory and latency; needs a release build and a quiet machine to mean anything"]
async fn measure_memory_and_latency() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload_of(1, &document(1, 20)));
    let agent = Agent::start(&pod, &api);
    agent.applied(1).await;
    println!("small: RSS {} KiB, peak {} KiB", memory(&agent, "VmRSS"), memory(&agent, "VmHWM"));

    let small = latencies(&api, &pod, (2..=201).map(|index| payload_of(index, &document(index, 20)))).await;
    println!("small: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", small[100], small[198], small[199]);
    println!("small, after 200: RSS {} KiB", memory(&agent, "VmRSS"));

    let first = large(300);
    let json = first.unpack().expect("valid").1.to_json().len();
    let packed: usize = first.binary_data.values().map(Vec::len).sum();
    api.put(&first);
    agent.applied(300).await;
    println!("large: {json} bytes of JSON, {packed} packed, {} in the file", pod.text().len());
    println!("large: RSS {} KiB, peak {} KiB", memory(&agent, "VmRSS"), memory(&agent, "VmHWM"));
    let all = latencies(&api, &pod, (301..=350).map(large)).await;
    println!("large: p50 {:.2} ms, max {:.2} ms", all[25], all[49]);
    println!("large, after 50: RSS {} KiB, peak {} KiB", memory(&agent, "VmRSS"), memory(&agent, "VmHWM"));
}
