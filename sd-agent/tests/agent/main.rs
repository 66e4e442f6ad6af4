//! Whole agents on real files, against an API server that can misbehave and a mount that is swapped as kubelet
//! does it. The numbers in the comments are those of the fault cases in `reference/propagation.md`, section 5.

mod fake_api;
mod scripted_api;
mod status;
mod support;
mod timed;
mod writer;

mod ages;
mod answers;
mod api;
mod content;
mod corpus;
mod damage;
mod dns;
mod faults;
mod files;
mod folders;
mod kills;
mod measure;
mod mount;
mod nudges;
mod ordering;
mod outage;
mod process;
mod readers;
