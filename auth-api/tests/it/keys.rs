//! `auth-api keys` and `auth-api clients`, and their changes to files.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use testkit::{AuthApi, Program, Service, binary};

async fn run(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let (code, program) = Program::run(binary("auth-api"), args, env).await;
    (code, program.stdout(), program.stderr())
}

/// Creates a directory with keys of these ages in minutes.
async fn keys(ages: &[i64]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for age in ages {
        let (_, made, _) =
            run(&["keys", "generate", "--dir", directory.path().to_str().unwrap()], &[]).await;
        let date = std::process::Command::new("date")
            .args(["-u", "-d", &format!("{age} minutes ago"), "+%Y%m%dT%H%M%SZ"])
            .output();
        let name = format!("{}-{age}.pem", String::from_utf8(date.unwrap().stdout).unwrap().trim());
        fs::rename(made.trim(), directory.path().join(name)).unwrap();
    }
    directory
}

async fn phases(directory: &Path) -> Vec<(String, String)> {
    let args = ["keys", "list", "--dir", directory.to_str().unwrap(), "--output", "json"];
    let (code, stdout, stderr) = run(&args, &[]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let listed: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    listed
        .iter()
        .map(|key| (text(&key["kid"]).split_once('-').unwrap().1.to_owned(), text(&key["phase"])))
        .collect()
}

#[tokio::test]
async fn key_waits_then_signs_then_verifies_then_is_spent() {
    let directory = keys(&[600, 100, 30, 5]).await;
    let pair = |kid: &str, phase: &str| (kid.to_owned(), phase.to_owned());
    let expected = [
        pair("600", "spent"),
        pair("100", "verifying"),
        pair("30", "signing"),
        pair("5", "waiting"),
    ];
    assert_eq!(phases(directory.path()).await, expected);
    let dir = directory.path().to_str().unwrap();
    let (_, table, _) = run(&["keys", "list"], &[("SIGNING_KEYS_DIR", dir)]).await;
    assert!(table.contains("signs") && table.lines().count() == 5, "{table}");

    let (code, _, stderr) = run(&["keys", "rotate", "--dir", dir], &[]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("is on its way already"), "{stderr}");

    let (code, stdout, _) = run(&["keys", "retire", "--dir", dir], &[]).await;
    assert_eq!((code, stdout.lines().count()), (Some(0), 1), "{stdout}");
    assert_eq!(phases(directory.path()).await, expected[1..]);
    let (code, stdout, stderr) = run(&["keys", "retire", "--dir", dir], &[]).await;
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert!(stderr.contains("Nothing to retire"), "{stderr}");
}

#[tokio::test]
async fn rotate_warns_about_many_keys() {
    // Sixteen keys cause no warning, and seventeen do.
    for (present, warned) in [(15, false), (16, true)] {
        let ages: Vec<i64> = (1..=present).map(|days| days * 1440).collect();
        let directory = keys(&ages).await;
        let args = ["keys", "rotate", "--dir", directory.path().to_str().unwrap()];
        let (code, _, stderr) = run(&args, &[("LOG_FORMAT", "json")]).await;
        assert_eq!(code, Some(0), "{stderr}");
        let mut events = stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let event = events.find(|line| line["fields"]["event"] == "many_signing_keys");
        let expected = warned.then_some((present + 1, present - 1));
        let fields = event.map(|event| event["fields"].clone());
        let numbers = fields
            .map(|fields| (fields["keys"].as_i64().unwrap(), fields["spent"].as_i64().unwrap()));
        assert_eq!(numbers, expected);
    }
}

#[tokio::test]
async fn key_in_use_is_retired_only_with_now() {
    let directory = keys(&[100, 30]).await;
    let dir = directory.path().to_str().unwrap();
    let names: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    for kid in &names {
        let (code, _, stderr) = run(&["keys", "retire", kid, "--dir", dir], &[]).await;
        assert_eq!(code, Some(1));
        assert!(stderr.contains("--now"), "{stderr}");
    }
    let (code, _, stderr) = run(&["keys", "retire", "20200101T000000Z-x", "--dir", dir], &[]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("there is no key"), "{stderr}");
    assert_eq!(run(&["keys", "retire", &names[0], "--now", "--dir", dir], &[]).await.0, Some(0));
    let (code, _, stderr) = run(&["keys", "retire", &names[1], "--now", "--dir", dir], &[]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("the only key that could sign"), "{stderr}");
    assert_eq!(
        run(&["keys", "retire", "--now", "--dir", dir], &[]).await.0,
        Some(2),
        "--now requires a key"
    );
}

#[tokio::test]
async fn secret_commands_rotate_and_keep_file_permissions() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("secret");
    let path = file.to_str().unwrap();
    fs::write(&file, AuthApi::SECRET).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let step = async |words: &[&str]| {
        run(&[&["keys", "secret"], words, &["--auth-secret-file", path]].concat(), &[]).await
    };
    let held = || {
        fs::read_to_string(&file).unwrap().trim().split(',').map(str::to_owned).collect::<Vec<_>>()
    };
    let (_, old, _) = step(&["list"]).await;
    let (code, new, stderr) = step(&["add"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let both = held();
    assert_eq!((both.len(), both[0].as_str()), (2, AuthApi::SECRET));
    assert!(!stderr.contains(&both[1]) && !both[1].contains(new.trim()));
    let (old, new) = (old.trim(), new.trim());
    assert_eq!(step(&["list"]).await.1, format!("{old}\n{new}\n"));
    for wrong in [["use", "00000000"], ["retire", "00000000"], ["retire", old]] {
        assert_eq!(step(&wrong).await.0, Some(1), "{wrong:?}");
        assert_eq!(held(), both);
    }
    // `use` is idempotent.
    for _ in 0..2 {
        assert_eq!(step(&["use", new]).await.0, Some(0));
        assert_eq!(held(), [both[1].as_str(), AuthApi::SECRET]);
    }
    assert_eq!(step(&["retire", new]).await.0, Some(1), "this secret creates new credentials");
    assert_eq!(step(&["retire", old]).await.0, Some(0));
    assert_eq!(held(), [both[1].as_str()]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    fs::write(&file, "nonsense").unwrap();
    let (code, _, stderr) = step(&["add"]).await;
    assert_eq!((code, fs::read_to_string(&file).unwrap().as_str()), (Some(1), "nonsense"));
    assert!(stderr.contains(path) && !stderr.contains("nonsense"), "{stderr}");
}

#[tokio::test]
async fn client_commands_keep_the_rest_of_the_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("clients");
    let env = [("INTROSPECTION_CLIENTS_FILE", file.to_str().unwrap())];
    let (code, secret, stderr) = run(&["clients", "add", "orders"], &env).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(secret.trim().len(), 43);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let stored = fs::read_to_string(&file).unwrap();
    assert!(stored.starts_with("orders:$blake3$") && !stored.contains(secret.trim()), "{stored}");
    fs::write(&file, format!("# Ours.\n\n{stored}")).unwrap();
    assert_eq!(run(&["clients", "add", "billing"], &env).await.0, Some(0));
    assert_eq!(run(&["clients", "list"], &env).await.1, "orders\nbilling\n");
    let (code, _, stderr) = run(&["clients", "add", "orders"], &env).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("--replace"), "{stderr}");
    assert_eq!(run(&["clients", "remove", "orders"], &env).await.0, Some(0));
    assert_eq!(run(&["clients", "remove", "orders"], &env).await.0, Some(1));
    assert_eq!(run(&["clients", "list"], &env).await.1, "billing\n");
    assert!(fs::read_to_string(&file).unwrap().starts_with("# Ours.\n\n"));

    for id in ["a b", "", "a:b", "ä", &"x".repeat(65)] {
        assert_eq!(run(&["clients", "add", id], &env).await.0, Some(2), "{id}");
    }
    assert_eq!(run(&["clients", "list"], &[]).await.0, Some(78), "no file is configured");
}

#[tokio::test]
async fn rehash_requires_the_client_secret() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("clients");
    let old = format!("# Ours.\n{}\n", Service::ARGON2ID);
    fs::write(&file, &old).unwrap();
    let rehash = |id: &str, secret: &str| {
        let mut command = std::process::Command::new(binary("auth-api"));
        command
            .args(["clients", "rehash", id, "--introspection-clients-file"])
            .arg(&file)
            .env("LOG_FORMAT", "json");
        let pipe = std::process::Stdio::piped;
        let mut child = command.stdin(pipe()).stdout(pipe()).stderr(pipe()).spawn().unwrap();
        // A command that fails before it reads has closed its standard input.
        let _ = child.stdin.take().unwrap().write_all(secret.as_bytes());
        let output = child.wait_with_output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        assert!(
            !String::from_utf8(printed).unwrap().contains(Service::ARGON2ID_SECRET),
            "the command prints the secret"
        );
        output.status.code()
    };
    for (id, wrong) in [("orders", "wrong"), ("orders", ""), ("billing", Service::ARGON2ID_SECRET)]
    {
        assert_eq!(rehash(id, wrong), Some(1), "{id} {wrong}");
        assert_eq!(fs::read_to_string(&file).unwrap(), old);
    }
    // `rehash` is idempotent.
    for _ in 0..2 {
        assert_eq!(rehash("orders", &format!("{}\n", Service::ARGON2ID_SECRET)), Some(0));
        let stored = fs::read_to_string(&file).unwrap();
        assert!(
            stored.starts_with("# Ours.\norders:$blake3$") && stored.lines().count() == 2,
            "{stored}"
        );
    }
}

#[tokio::test]
async fn files_created_by_root_belong_to_the_directory_owner() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let directory = TempDir::new().unwrap();
    let us = fs::metadata(directory.path()).unwrap().uid();
    // Only root can change the owner of a directory. If another user runs the test, the files
    // belong to that user.
    let owner = if us == 0 { 65_534 } else { us };
    chown(directory.path(), Some(owner), None).unwrap();
    let dir = directory.path().to_str().unwrap();
    let (_, key, _) = run(&["keys", "generate", "--dir", dir], &[]).await;
    let clients = directory.path().join("clients");
    run(
        &["clients", "add", "orders"],
        &[("INTROSPECTION_CLIENTS_FILE", clients.to_str().unwrap())],
    )
    .await;
    for file in [Path::new(key.trim()), &clients] {
        let made = fs::metadata(file).unwrap();
        assert_eq!(
            (made.uid(), made.permissions().mode() & 0o777),
            (owner, 0o600),
            "{}",
            file.display()
        );
    }
}

#[tokio::test]
async fn concurrently_added_clients_are_all_stored() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("clients");
    let env = [("INTROSPECTION_CLIENTS_FILE", file.to_str().unwrap())];
    let ids: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
    let mut adding = Vec::new();
    for id in &ids {
        adding.push(Program::start(binary("auth-api"), &["clients", "add", id], &env));
    }
    for mut program in adding {
        assert!(program.wait().await.success(), "{}", program.stderr());
    }
    let (_, listed, _) = run(&["clients", "list"], &env).await;
    let mut listed: Vec<&str> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ids);
}

#[tokio::test]
async fn retiring_a_leaked_key_lets_the_next_one_sign() {
    let directory = keys(&[9000, 600]).await;
    let dir = directory.path().to_str().unwrap();
    assert_eq!(run(&["keys", "rotate", "--dir", dir], &[]).await.0, Some(0));
    let args = ["keys", "list", "--dir", dir, "--output", "json"];
    let listed: Vec<Value> =
        serde_json::from_str(&run(&args, &[("OUTPUT", "of something else")]).await.1).unwrap();
    let leaked =
        listed.iter().find(|key| key["phase"] == "signing").unwrap()["kid"].as_str().unwrap();
    assert_eq!(run(&["keys", "retire", leaked, "--now", "--dir", dir], &[]).await.0, Some(0));
    let left = phases(directory.path()).await;
    assert_eq!(left.iter().map(|(_, phase)| phase.as_str()).collect::<Vec<_>>(), ["signing"]);
}

#[tokio::test]
async fn invalid_clients_file_is_reported_with_its_line() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("clients");
    let env = [("INTROSPECTION_CLIENTS_FILE", file.to_str().unwrap())];
    let good = format!("{}\n", Service::ARGON2ID);
    let short = "orders:$blake3$00ff".to_owned();
    let bcrypt = "orders:$2b$12$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m";
    let argon2i = good.replace("argon2id", "argon2i");
    let costly = good.replace("m=19456", "m=4194304");
    let endless = good.replace("t=2", "t=4000000000");
    for (content, line) in [
        (format!("{good}orders"), 2),
        (format!("{good}{good}"), 2),
        (format!("#\n{bcrypt}"), 2),
        (argon2i, 1),
        (short, 1),
        (costly, 1),
        (endless, 1),
        ("orders:".to_owned(), 1),
        (":$argon2id$".to_owned(), 1),
    ] {
        fs::write(&file, &content).unwrap();
        let keys = directory.path().to_str().unwrap();
        let serve = [
            ("DATABASE_URL", "postgres://user@127.0.0.1/db"),
            ("REDIS_URL", "redis://127.0.0.1"),
            ("PUBLIC_URL", "https://auth.example.test"),
            ("AUTH_SECRET", AuthApi::SECRET),
            ("SIGNING_KEYS_DIR", keys),
            env[0],
        ];
        let (code, _, stderr) = run(&["config"], &serve).await;
        assert_eq!(code, Some(78), "{content}");
        assert!(
            stderr.contains(&format!("INTROSPECTION_CLIENTS_FILE: {}: line {line}: ", env[0].1)),
            "{stderr}"
        );
        assert_eq!(run(&["clients", "add", "another"], &env).await.0, Some(1));
        assert_eq!(fs::read_to_string(&file).unwrap(), content, "an invalid file is not changed");
    }
}
