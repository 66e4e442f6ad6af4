#![no_main]
//! See `sd_file` in `properties.rs`.

use libfuzzer_sys::fuzz_target;

#[path = "../properties.rs"]
mod properties;

fuzz_target!(|bytes: &[u8]| properties::sd_file(bytes));
