//! The documentation does what it says: its commands and its code run, in their order, against the
//! programs and the published clients of npm and `PyPI` (`deploy/local/real-packages` gets them).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

#[path = "docs/blocks.rs"]
mod blocks;
#[path = "docs/requirements.rs"]
mod requirements;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use blocks::{Page, Step, fits};
use tempfile::TempDir;
use testkit::{AuthApi, Database, Program, Redis, Service, Wallet, binary, free_port};

/// Where `deploy/local/real-packages` has put it.
fn installed(path: &str) -> PathBuf {
    let directory =
        std::env::var("REAL_PACKAGES").expect("REAL_PACKAGES has the packages: run `make test`");
    PathBuf::from(directory).join(path)
}

/// A bound for what hangs. A page starts Node and Python twenty times, each of which takes its time
/// on a busy machine.
const PATIENCE: Duration = Duration::from_mins(10);

/// Runs a page of the documentation in a directory of its own.
async fn runs(name: &str, env: &[(&str, &str)]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = Page::read(name, &fs::read_to_string(root.join(name)).unwrap());
    assert!(!page.steps.is_empty(), "{name} has nothing to run");
    let directory = TempDir::new().unwrap();
    let here = directory.path();
    for file in &page.files {
        let path = here.join(&file.name);
        assert!(!path.exists(), "{name} writes {} twice", file.name);
        fs::write(path, &file.text).unwrap();
    }
    fs::write(here.join("extension.js"), include_str!("freighter/extension.js")).unwrap();
    fs::write(here.join("window.mjs"), include_str!("docs/window.mjs")).unwrap();
    std::os::unix::fs::symlink(installed("stellar-js/node_modules"), here.join("node_modules"))
        .unwrap();

    // One shell for the whole page, so that what a step sets the next one has; each step's output
    // for itself.
    let step = |Step { line, script, .. }: &Step| {
        format!("echo {line} >at\n{{\n{script}}} >{line}.out 2>{line}.err\n")
    };
    let steps: String = page.steps.iter().map(step).collect();
    let script = format!("set -eu\ncd '{}'\n{steps}", here.display());
    fs::write(here.join("script"), script).unwrap();
    let mut path = vec![installed("stellar-python/venv/bin"), installed("stellar-js/node/bin")];
    path.push(binary("auth-api").parent().unwrap().to_owned());
    path.push(std::env::var_os("PG_BIN").expect("PG_BIN has psql: run `make test`").into());
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let path = std::env::join_paths(path).unwrap();
    let mut all = vec![
        ("PATH", path.to_str().unwrap()),
        ("LC_ALL", "C.UTF-8"),
        ("FREIGHTER", "./window.mjs"),
    ];
    all.extend(env);
    let mut shell = Program::start("sh", &[here.join("script").to_str().unwrap()], &all);
    let deadline = Instant::now() + PATIENCE;
    while !shell.has_ended() {
        assert!(Instant::now() < deadline, "{name} does not come to its end:\n{}", shell.stderr());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let code = shell.wait().await.code();

    let reached = fs::read_to_string(here.join("at"))
        .unwrap_or_else(|_| panic!("{name}: {}", shell.stderr()));
    let reached: usize = reached.trim().parse().unwrap();
    for Step { line, output, .. } in page.steps {
        let said = |what: &str| {
            fs::read_to_string(here.join(format!("{line}.{what}"))).unwrap_or_default()
        };
        let (printed, told) = (said("out"), said("err"));
        assert!(
            code == Some(0) || line != reached,
            "{name}:{line} failed:\n{printed}{told}{}",
            shell.stderr()
        );
        if let Some(expected) = output {
            assert!(
                fits(&expected, &printed),
                "{name}:{line} does not print what it says, but:\n{printed}{told}"
            );
        }
    }
}

#[tokio::test]
async fn the_guide_of_the_api() {
    let database = Database::create().await;
    let (bind, public_url) = here();
    let service = Service::add().await;
    // A busy machine may take longer from a refresh to its retry than people do.
    let env = [
        ("BIND", bind.as_str()),
        ("PUBLIC_URL", &public_url),
        ("REFRESH_REUSE_GRACE", "5m"),
        service.env(),
    ];
    let api = AuthApi::start(&database, &env).await;
    let told = [
        ("AUTH_API_URL", &*api.url),
        ("CLIENT_ID", service.id),
        ("CLIENT_SECRET", &service.secret),
    ];
    runs("docs/api.md", &told).await;
}

#[tokio::test]
async fn the_page_of_operators() {
    let operators = Operators::new();
    let (database, api) = operators.serve().await;
    let wallet = Wallet::generate();
    for _ in 0..2 {
        api.login(&wallet).await;
    }
    api.cookie_login(&wallet).await;
    operators.run("docs/admin.md", &database, &api).await;
}

#[tokio::test]
async fn the_runbooks() {
    let operators = Operators::new();
    let (database, api) = operators.serve().await;
    for _ in 0..2 {
        api.login(&Wallet::generate()).await;
    }
    operators.run("docs/operations.md", &database, &api).await;
}

/// What operators have: the files of an auth-api, and a shell with its variables.
struct Operators {
    directory: TempDir,
}

impl Operators {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(
            directory.path().join("token"),
            "a token of tests, as long as it has to be".replace(' ', "-"),
        )
        .unwrap();
        fs::write(directory.path().join("secret"), AuthApi::SECRET).unwrap();
        fs::write(directory.path().join("clients"), "# Nobody yet.\n").unwrap();
        Self { directory }
    }

    fn files(&self) -> [(&'static str, String); 3] {
        let file = |name: &str| self.directory.path().join(name).to_str().unwrap().to_owned();
        [
            ("ADMIN_TOKEN_FILE", file("token")),
            ("AUTH_SECRET_FILE", file("secret")),
            ("INTROSPECTION_CLIENTS_FILE", file("clients")),
        ]
    }

    async fn serve(&self) -> (Database, AuthApi) {
        let (database, files) = (Database::create().await, self.files());
        let mut env = vec![("AUTH_SECRET", "")];
        env.extend(files.iter().map(|(name, file)| (*name, file.as_str())));
        let api = AuthApi::start(&database, &env).await;
        (database, api)
    }

    async fn run(&self, page: &str, database: &Database, api: &AuthApi) {
        let (database_url, redis_url, files) =
            (database.url_as("auth_api"), Redis::shared_url(), self.files());
        let (keys, id) = (api.keys().to_str().unwrap().to_owned(), api.program.id().to_string());
        let mut env = vec![
            ("DATABASE_URL", database_url.as_str()),
            ("REDIS_URL", &redis_url),
            ("REDIS_PREFIX", &api.redis_prefix),
            ("STELLAR_NETWORK", "testnet"),
            ("SIGNING_KEYS_DIR", &keys),
            ("AUTH_API_OPS_URL", &api.ops_url),
            ("AUTH_API_ADMIN_URL", api.admin_url.as_ref().unwrap()),
            ("AUTH_API_PID", &id),
        ];
        env.extend(files.iter().map(|(name, file)| (*name, file.as_str())));
        runs(page, &env).await;
        let mistakes = api.program.log_events("reload_failed");
        assert!(mistakes.is_empty(), "{mistakes:?}");
    }
}

#[tokio::test]
async fn the_page_on_wallets() {
    runs("docs/wallets.md", &[]).await;
}

#[tokio::test]
async fn the_readme() {
    let database = Database::empty().await;
    let (database_url, redis_url, prefix) =
        (database.url(), Redis::shared_url(), database.name().to_owned());
    let ((bind, _), (ops_bind, _)) = (here(), here());
    let env = [
        ("DATABASE_URL", database_url.as_str()),
        ("REDIS_URL", &redis_url),
        ("REDIS_PREFIX", &prefix),
        ("BIND", &bind),
        ("OPS_BIND", &ops_bind),
    ];
    runs("README.md", &env).await;
}

/// A port that `PUBLIC_URL` can name, too.
fn here() -> (String, String) {
    let bind = format!("127.0.0.1:{}", free_port());
    let public_url = format!("http://{bind}");
    (bind, public_url)
}

#[test]
fn dots_stand_for_anything_within_a_line_and_for_nothing_else() {
    let fit = [
        ("a\nb", "a\nb"),
        ("…", "x"),
        ("a…", "a"),
        ("a…c…e", "abcde"),
        ("…c…c", "cc"),
        ("{\"a\": \"…\"}", "{\"a\": \"1\"}"),
    ];
    for (expected, printed) in fit {
        assert!(fits(expected, printed), "{expected:?} {printed:?}");
    }
    let not = [
        ("a", "b"),
        ("a", "ab"),
        ("a\nb", "a"),
        ("a", "a\nb"),
        ("a…c", "a\nc"),
        ("…b", "ba"),
        ("ab…b", "ab"),
        ("a…b…b", "ab"),
    ];
    for (expected, printed) in not {
        assert!(!fits(expected, printed), "{expected:?} {printed:?}");
    }
}

#[test]
fn a_snippet_that_nothing_runs_is_found() {
    let page =
        |text: &'static str| std::panic::catch_unwind(|| Page::read("page.md", text)).is_ok();
    for good in [
        "```sh test\ntrue\n```\n",
        "```\nfree\n```\n",
        "```json\n{}\n```\n",
        "```sh untested=why\nx\n```\n",
    ] {
        assert!(page(good), "{good}");
    }
    for bad in [
        "```sh\ntrue\n```\n",
        "```js\n1\n```\n",
        "```text output\nx\n```\n",
        "```sh tets\ntrue\n```\n",
        "```sh file=\n```\n",
    ] {
        assert!(!page(bad), "{bad}");
    }
}

#[test]
fn every_requirement_names_a_test_or_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/security-requirements.md")).unwrap();
    assert_eq!(requirements::faults(&page, root), Vec::<String>::new());
    let wrong = "\
| r | c | status | test | reason |
|---|---|---|---|---|
| 1 | c | met | `docs.rs::every_requirement_names_a_test_or_a_reason` | |
| 2 | c | partly | | why |
| 3 | c | met | | |
| 4 | c | not met | | |
| 5 | c | met | `docs.rs::no_such_test` | |
| 6 | c | met | `no_such_file.rs::the_readme` | |
| 7 | c | met | `docs/blocks.rs::fits` | not a test |
| 8 | c | perhaps | | why |
| 9 | c | met |
| 10 | c | met | TODO | |
";
    let found: Vec<_> =
        requirements::faults(wrong, root).iter().map(|fault| fault[..7].to_owned()).collect();
    assert_eq!(
        found,
        ["line 5:", "line 6:", "line 7:", "line 8:", "line 9:", "line 10", "line 11", "line 12"]
    );
}
