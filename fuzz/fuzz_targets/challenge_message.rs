#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::auth_api::challenge_message(data));
