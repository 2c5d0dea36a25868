//! Stored values, and entries that move a state.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ecovisord::fuzzing::journal(bytes));
