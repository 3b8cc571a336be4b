//! docs/configuration.md matches the help texts of the variables.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

use std::path::Path;

use auth_api::commands::Cli;
use clap::CommandFactory as _;
use testkit::reference::compare_defaults;

#[test]
fn every_variable_is_documented_as_in_the_help() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    // RUST_LOG is not a command-line option, so the table does not contain it.
    testkit::reference::is_documented(&Cli::command(), &["serve"], &file, "auth-api");
}

/// The settings without a default, each with the value that this test sets.
fn required(keys: &Path) -> [(&'static str, String); 5] {
    [
        ("DATABASE_URL", "postgres://auth_api@127.0.0.1/auth".to_owned()),
        ("REDIS_URL", "redis://127.0.0.1".to_owned()),
        ("PUBLIC_URL", "https://auth.example.com".to_owned()),
        ("AUTH_SECRET", testkit::AuthApi::SECRET.to_owned()),
        ("SIGNING_KEYS_DIR", keys.to_string_lossy().into_owned()),
    ]
}

/// Settings whose defaults depend on other settings. The page describes these defaults in words.
const DERIVED: [&str; 5] =
    ["REDIS_PREFIX", "ISSUER", "AUDIENCE", "EXTEND_THRESHOLD", "MAX_CONNECTIONS_PER_NETWORK"];

/// With only its required settings, auth-api uses the defaults that the page documents.
#[tokio::test]
async fn effective_defaults_match_the_documentation() {
    let keys = tempfile::tempdir().unwrap();
    let auth_api = testkit::binary("auth-api");
    let directory = keys.path().to_str().unwrap();
    let generate = ["keys", "generate", "--dir", directory];
    let (code, generated) = testkit::Program::run(auth_api.clone(), &generate, &[]).await;
    assert_eq!(code, Some(0), "{}", generated.stderr());
    let required = required(keys.path());
    let env: Vec<(&str, &str)> =
        required.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (code, config) = testkit::Program::run(auth_api, &["config"], &env).await;
    assert_eq!(code, Some(0), "{}", config.stderr());

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let given: Vec<&str> = env.iter().map(|(name, _)| *name).collect();
    let block = (file.as_path(), "auth-api");
    let compared = compare_defaults(&config.stdout(), block, &given, &DERIVED, &["none"]);
    assert!(compared > 40, "{compared} settings were compared");
}
