//! The whole operator against an API server in memory: what it writes, when, and what it survives.

mod fake_api;

#[path = "fake_api/cases_endpoints.rs"]
mod endpoints;
#[path = "fake_api/cases_start.rs"]
mod start;
