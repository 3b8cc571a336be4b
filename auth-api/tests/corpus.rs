//! What is fuzzed, without the fuzzer: each target over its corpus, which was kept because each
//! file of it reaches something that no other does, and over some hundred inputs at random.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "the targets are the fuzzer's, too")]

#[path = "../../fuzz/targets/auth_api/mod.rs"]
mod targets;

use proptest::prelude::*;

fn replay(target: fn(&[u8]), name: &str) {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut files = 0;
    for entry in
        std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
    {
        let path = entry.unwrap().path();
        // Seen when it fails: the last is the one.
        eprintln!("{}", path.display());
        target(&std::fs::read(path).unwrap());
        files += 1;
    }
    assert!(files > 0, "{} is empty", corpus.display());
}

#[test]
fn access_tokens_hold_over_their_corpus() {
    replay(targets::access_token, "access_token");
}

#[test]
fn challenges_hold_over_their_corpus() {
    replay(targets::challenge_message, "challenge_message");
}

#[test]
fn refresh_tokens_hold_over_their_corpus() {
    replay(targets::refresh_token, "refresh_token");
}

#[test]
fn session_cookies_hold_over_their_corpus() {
    replay(targets::session_cookie, "session_cookie");
}

#[test]
fn addresses_and_signatures_hold_over_their_corpus() {
    replay(targets::strkey_signature, "strkey_signature");
}

proptest! {
    #[test]
    fn and_over_anything(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        targets::access_token(&data);
        targets::challenge_message(&data);
        targets::refresh_token(&data);
        targets::session_cookie(&data);
        targets::strkey_signature(&data);
    }
}
