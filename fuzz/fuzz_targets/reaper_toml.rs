#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::session_reaper::reaper_toml(data));
