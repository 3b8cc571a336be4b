//! The `init` command.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use std::fs;
use std::path::Path;

use testkit::{Program, binary};

/// A database URL with a port on which no server listens. If a program fails only when it connects
/// to this URL, the program has accepted its configuration.
const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nowhere";

async fn init(args: &[&str]) -> (Option<i32>, Program) {
    Program::run(binary("session-reaper"), &[&["init"], args].concat(), &[]).await
}

/// Returns the errors in a configuration file, or `None` if `run` accepts the file.
async fn config_errors(file: &Path) -> Option<String> {
    let args = ["run", "--database-url", NOWHERE, "--config", file.to_str().unwrap()];
    let (code, program) = Program::run(binary("session-reaper"), &args, &[]).await;
    (code != Some(69)).then(|| program.stderr())
}

#[tokio::test]
async fn generated_file_is_valid_with_and_without_examples() {
    let directory = tempfile::tempdir().unwrap();
    for presets in [
        &["auth-api"][..],
        &["tower-sessions"],
        &["supabase-auth", "django"],
        &["better-auth", "doorkeeper", "better-auth"],
    ] {
        let file = directory.path().join(presets.join("+"));
        let mut args = vec![file.to_str().unwrap()];
        args.extend(presets.iter().flat_map(|preset| ["--preset", *preset]));
        let (code, program) = init(&args).await;
        assert_eq!(code, Some(0), "{}", program.stderr());
        assert_eq!(program.stdout(), format!("wrote {}\n", file.display()));
        assert_eq!(config_errors(&file).await, None);

        let text = fs::read_to_string(&file).unwrap();
        assert!(presets.iter().all(|preset| text.contains(&format!("{preset:?}"))), "{text}");
        let example =
            |line: &&str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
        assert!(text.lines().filter(example).count() > 10, "{text}");
        let all = text.lines().map(|line| if example(&line) { &line[1..] } else { line });
        fs::write(&file, all.collect::<Vec<_>>().join("\n")).unwrap();
        assert_eq!(config_errors(&file).await, None);
    }
}

#[tokio::test]
async fn generated_file_explains_every_known_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wrong.toml");
    fs::write(&file, "q = 1\n[[target]]\nq = 1\ntable = 't'\ndue = [{ q = 1 }]\n[pace]\nq = 1\n[throttle]\nq = 1\n").unwrap();
    let errors = config_errors(&file).await.unwrap();
    let known: Vec<&str> = errors
        .lines()
        .filter(|line| line.contains("unknown key"))
        .filter_map(|line| line.split_once("(known: ")?.1.strip_suffix(')'))
        .flat_map(|keys| keys.split(", "))
        .collect();
    assert!(
        ["preset", "table", "keep", "duty_cycle", "query"].iter().all(|key| known.contains(key)),
        "{errors}"
    );
    let (_, program) = init(&["-"]).await;
    for key in known {
        let written = [format!("{key} = "), format!("[{key}]")];
        assert!(written.iter().any(|written| program.stdout().contains(written)), "{key}");
    }
}

#[tokio::test]
async fn default_preset_is_auth_api() {
    let (code, program) = init(&["-"]).await;
    assert_eq!(code, Some(0));
    assert!(program.stdout().contains("\npreset = \"auth-api\"\n"), "{}", program.stdout());
}

#[tokio::test]
async fn existing_file_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("reaper.toml");
    fs::write(&file, "mine").unwrap();
    let (code, program) = init(&[file.to_str().unwrap()]).await;
    assert_eq!(code, Some(1));
    assert!(
        program.stderr().contains("is already there and stays as it is"),
        "{}",
        program.stderr()
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");

    let (code, program) = init(&[directory.path().join("no/such.toml").to_str().unwrap()]).await;
    assert_eq!(code, Some(1));
    assert!(program.stderr().contains("such.toml cannot be written: "), "{}", program.stderr());
}

#[tokio::test]
async fn unknown_preset_is_rejected_with_the_nearest_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("reaper.toml");
    let (code, program) =
        init(&[file.to_str().unwrap(), "--preset", "djano", "--preset", "doorkeper"]).await;
    assert_eq!(code, Some(78));
    for expected in [
        "2 mistakes",
        "--preset=djano: there is none; did you mean \"django\"?",
        "did you mean \"doorkeeper\"?",
    ] {
        assert!(program.stderr().contains(expected), "{expected}\n{}", program.stderr());
    }
    assert!(!file.exists());
}
