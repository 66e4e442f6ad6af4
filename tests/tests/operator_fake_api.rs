//! The whole operator against an API server in memory: what it writes, when, and what it survives.

mod fake_api;

#[path = "fake_api/cases_agentless.rs"]
mod agentless;
#[path = "fake_api/cases_agents.rs"]
mod agents;
#[path = "fake_api/cases_tls.rs"]
mod cases_tls;
#[path = "fake_api/cases_cluster_version.rs"]
mod cluster_version;
#[path = "fake_api/cases_distributed.rs"]
mod distributed;
#[path = "fake_api/cases_dns.rs"]
mod dns;
#[path = "fake_api/cases_endpoints.rs"]
mod endpoints;
#[path = "fake_api/cases_explain.rs"]
mod explain;
#[path = "fake_api/cases_failures.rs"]
mod failures;
#[path = "fake_api/cases_fake.rs"]
mod fake;
#[path = "fake_api/cases_namespaces.rs"]
mod namespaces;
#[path = "fake_api/cases_objects.rs"]
mod objects;
#[path = "fake_api/cases_queries.rs"]
mod queries;
#[path = "fake_api/cases_removals.rs"]
mod removals;
#[path = "fake_api/cases_rollout_pace.rs"]
mod rollout_pace;
#[path = "fake_api/cases_rollouts.rs"]
mod rollouts;
#[path = "fake_api/cases_start.rs"]
mod start;
#[path = "fake_api/cases_takeover.rs"]
mod takeover;
#[path = "fake_api/cases_watches.rs"]
mod watches;
#[path = "fake_api/cases_workloads.rs"]
mod workloads;
