//! Runs each fuzz target without the fuzzer, on its corpus and on random inputs. Each corpus file
//! covers code that no other file covers.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "the fuzzer uses the targets, too")]

#[path = "../../../fuzz/targets/auth_api/mod.rs"]
mod targets;

use proptest::prelude::*;

fn replay(target: fn(&[u8]), name: &str) {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut files = 0;
    for entry in
        std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
    {
        let path = entry.unwrap().path();
        // If the test fails, the last printed path is the failing input.
        eprintln!("{}", path.display());
        target(&std::fs::read(path).unwrap());
        files += 1;
    }
    assert!(files > 0, "{} is empty", corpus.display());
}

#[test]
fn access_token_target_passes_its_corpus() {
    replay(targets::access_token, "access_token");
}

#[test]
fn challenge_target_passes_its_corpus() {
    replay(targets::challenge_message, "challenge_message");
}

#[test]
fn refresh_token_target_passes_its_corpus() {
    replay(targets::refresh_token, "refresh_token");
}

#[test]
fn session_cookie_target_passes_its_corpus() {
    replay(targets::session_cookie, "session_cookie");
}

#[test]
fn address_and_signature_target_passes_its_corpus() {
    replay(targets::strkey_signature, "strkey_signature");
}

proptest! {
    #[test]
    fn all_targets_pass_random_inputs(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        targets::access_token(&data);
        targets::challenge_message(&data);
        targets::refresh_token(&data);
        targets::session_cookie(&data);
        targets::strkey_signature(&data);
    }
}
