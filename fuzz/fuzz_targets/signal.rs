#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loaner_fuzz::signal(bytes));
