//! What is fuzzed, without the fuzzer: `reaper.toml` over its corpus, which was kept because each
//! file of it reaches something that no other does.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "the target is the fuzzer's, too")]

#[path = "../../fuzz/targets/session_reaper/mod.rs"]
mod targets;

use std::fs;
use std::path::Path;

/// Every file of a directory.
fn replay(directory: &Path) {
    let mut files = 0;
    for entry in
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
    {
        let path = entry.unwrap().path();
        // Seen when it fails: the last is the one.
        eprintln!("{}", path.display());
        targets::reaper_toml(&fs::read(path).unwrap());
        files += 1;
    }
    assert!(files > 0, "{} is empty", directory.display());
}

#[test]
fn the_configuration_holds_over_its_corpus() {
    replay(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/reaper_toml"));
}

#[test]
fn and_over_the_presets() {
    replay(&Path::new(env!("CARGO_MANIFEST_DIR")).join("presets"));
}
