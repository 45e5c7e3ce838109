#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fugue_server::fuzz::run("nodes", input));
