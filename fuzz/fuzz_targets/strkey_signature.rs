#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::auth_api::strkey_signature(data));
