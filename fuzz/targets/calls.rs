//! Requests to every method of both services.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ecovisord::fuzzing::calls(bytes));
