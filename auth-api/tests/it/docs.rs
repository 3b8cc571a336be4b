//! Runs the commands and the code of the documentation, in page order, against the programs and the
//! published npm and `PyPI` clients that `deploy/local/real-packages` installs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

mod blocks;
mod requirements;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use blocks::{Page, Step, fits};
use tempfile::TempDir;
use testkit::{AuthApi, Database, Program, Redis, Service, Wallet, binary, free_port};

/// Returns the location of a file that `deploy/local/real-packages` installed.
fn installed(path: &str) -> PathBuf {
    let directory = std::env::var("REAL_PACKAGES")
        .expect("REAL_PACKAGES must name the directory of the packages: run `make test`");
    PathBuf::from(directory).join(path)
}

/// The deadline for a page that hangs. A page starts Node and Python about twenty times, which is
/// slow on a busy machine.
const PAGE_DEADLINE: Duration = Duration::from_mins(10);

/// Runs a page of the documentation in a new directory.
async fn runs(name: &str, env: &[(&str, &str)]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = Page::read(name, &fs::read_to_string(root.join(name)).unwrap());
    assert!(!page.steps.is_empty(), "{name} contains no commands");
    let directory = TempDir::new().unwrap();
    let here = directory.path();
    for file in &page.files {
        let path = here.join(&file.name);
        assert!(!path.exists(), "{name} writes {} twice", file.name);
        fs::write(path, &file.text).unwrap();
    }
    fs::write(here.join("extension.js"), include_str!("../freighter/extension.js")).unwrap();
    fs::write(here.join("window.mjs"), include_str!("../docs/window.mjs")).unwrap();
    std::os::unix::fs::symlink(installed("stellar-js/node_modules"), here.join("node_modules"))
        .unwrap();

    // One shell runs the whole page, so that variables persist between steps. Each step has its own
    // output files.
    let step = |Step { line, script, .. }: &Step| {
        format!("echo {line} >at\n{{\n{script}}} >{line}.out 2>{line}.err\n")
    };
    let steps: String = page.steps.iter().map(step).collect();
    let script = format!("set -eu\ncd '{}'\n{steps}", here.display());
    fs::write(here.join("script"), script).unwrap();
    let mut path = vec![installed("stellar-python/venv/bin"), installed("stellar-js/node/bin")];
    path.push(binary("auth-api").parent().unwrap().to_owned());
    path.push(
        std::env::var_os("PG_BIN")
            .expect("PG_BIN must name the directory of psql: run `make test`")
            .into(),
    );
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let path = std::env::join_paths(path).unwrap();
    let mut all = vec![
        ("PATH", path.to_str().unwrap()),
        ("LC_ALL", "C.UTF-8"),
        ("FREIGHTER", "./window.mjs"),
    ];
    all.extend(env);
    let mut shell = Program::start("sh", &[here.join("script").to_str().unwrap()], &all);
    let deadline = Instant::now() + PAGE_DEADLINE;
    while !shell.has_ended() {
        assert!(Instant::now() < deadline, "{name} does not finish:\n{}", shell.stderr());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let code = shell.wait().await.code();

    let reached = fs::read_to_string(here.join("at"))
        .unwrap_or_else(|_| panic!("{name}: {}", shell.stderr()));
    let reached: usize = reached.trim().parse().unwrap();
    for Step { line, output, .. } in page.steps {
        let captured = |what: &str| {
            fs::read_to_string(here.join(format!("{line}.{what}"))).unwrap_or_default()
        };
        let (printed, errors) = (captured("out"), captured("err"));
        assert!(
            code == Some(0) || line != reached,
            "{name}:{line} failed:\n{printed}{errors}{}",
            shell.stderr()
        );
        if let Some(expected) = output {
            assert!(
                fits(&expected, &printed),
                "{name}:{line} prints unexpected output:\n{printed}{errors}"
            );
        }
    }
}

#[tokio::test]
async fn api_guide_runs() {
    let database = Database::create().await;
    let (bind, public_url) = free_address();
    let service = Service::add().await;
    // On a busy machine, a retry may follow the original refresh later than usual.
    let env = [
        ("BIND", bind.as_str()),
        ("PUBLIC_URL", &public_url),
        ("REFRESH_REUSE_GRACE", "5m"),
        service.env(),
    ];
    let api = AuthApi::start(&database, &env).await;
    let variables = [
        ("AUTH_API_URL", &*api.url),
        ("CLIENT_ID", service.id),
        ("CLIENT_SECRET", &service.secret),
    ];
    runs("docs/api.md", &variables).await;
}

#[tokio::test]
async fn admin_page_runs() {
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
async fn operations_page_runs() {
    let operators = Operators::new();
    let (database, api) = operators.serve().await;
    for _ in 0..2 {
        api.login(&Wallet::generate()).await;
    }
    operators.run("docs/operations.md", &database, &api).await;
}

/// The environment of an operator: the files of an auth-api, and a shell with its variables.
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
        let errors = api.program.log_events("reload_failed");
        assert!(errors.is_empty(), "{errors:?}");
    }
}

#[tokio::test]
async fn wallets_page_runs() {
    runs("docs/wallets.md", &[]).await;
}

#[tokio::test]
async fn readme_runs() {
    let database = Database::empty().await;
    let (database_url, redis_url, prefix) =
        (database.url(), Redis::shared_url(), database.name().to_owned());
    let ((bind, _), (ops_bind, _)) = (free_address(), free_address());
    let env = [
        ("DATABASE_URL", database_url.as_str()),
        ("REDIS_URL", &redis_url),
        ("REDIS_PREFIX", &prefix),
        ("BIND", &bind),
        ("OPS_BIND", &ops_bind),
    ];
    runs("README.md", &env).await;
}

/// Returns a free address to listen on, and its URL for `PUBLIC_URL`.
fn free_address() -> (String, String) {
    let bind = format!("127.0.0.1:{}", free_port());
    let public_url = format!("http://{bind}");
    (bind, public_url)
}

#[test]
fn ellipsis_matches_any_text_within_a_line() {
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
fn snippet_that_is_not_run_is_an_error() {
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
| 6 | c | met | `no_such_file.rs::readme_runs` | |
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
