//! Runs the fuzz target for `reaper.toml` over its corpus, without the fuzzer. Each file of the
//! corpus reaches code that no other file reaches.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "the fuzzer uses the target, too")]

#[path = "../../../fuzz/targets/session_reaper/mod.rs"]
mod targets;

use std::fs;
use std::path::Path;

/// Runs the target on every file of a directory.
fn replay(directory: &Path) {
    let mut files = 0;
    for entry in
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
    {
        let path = entry.unwrap().path();
        // When the test fails, the last path printed is the file that failed.
        eprintln!("{}", path.display());
        targets::reaper_toml(&fs::read(path).unwrap());
        files += 1;
    }
    assert!(files > 0, "{} is empty", directory.display());
}

#[test]
fn parser_accepts_or_rejects_every_corpus_file() {
    replay(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/reaper_toml"));
}

#[test]
fn parser_accepts_or_rejects_every_preset() {
    replay(&Path::new(env!("CARGO_MANIFEST_DIR")).join("presets"));
}
