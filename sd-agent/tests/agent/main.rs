//! Whole agents on real files, against an API server that can misbehave and a mount that is swapped as kubelet
//! does it. The numbers in the comments are those of the fault cases in `reference/propagation.md`, section 5.

mod fake_api;
mod status;
mod support;

mod api;
mod content;
mod dns;
mod files;
mod measure;
mod mount;
mod process;
