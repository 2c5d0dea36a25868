//! The configuration's text.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ecovisord::fuzzing::config(bytes));
