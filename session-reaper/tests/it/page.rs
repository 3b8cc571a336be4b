//! The status page in a browser.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

mod history;

use std::path::Path;

use serde_json::Value;
use testkit::{
    Browser, Database, Page, ParkAt, Parking, Program, Proxy, Screen, expired_sessions,
    start_reaper,
};

const EVERY_SECOND: (&str, &str) = ("SCHEDULE", "* * * * * *");
const NEVER: (&str, &str) = ("SCHEDULE", "0 0 1 1 *");

const WIDE: Screen = Screen { width: 1280, height: 900, dark: false };
const PHONE: Screen = Screen { width: 320, height: 640, dark: false };

struct Daemon {
    program: Program,
    ops: String,
}

impl Daemon {
    async fn start(database: &Database, env: &[(&str, &str)]) -> Self {
        let mut program = start_reaper(database, &["daemon"], env);
        let ops = program.log_event("listening").await["ops"].as_str().unwrap().to_owned();
        Self { program, ops }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.ops)
    }
}

/// Opens the page and waits until it has rendered the status.
fn shown<'b>(browser: &'b mut Browser, url: &str, screen: Screen) -> Page<'b> {
    let mut page = browser.open(url, screen);
    page.wait_for("document.body?.dataset.shown === 'true'");
    page
}

/// Waits until the element contains the text, because a slow response may still be pending.
fn shows(page: &mut Page<'_>, selector: &str, text: &str) {
    page.wait_for(&format!(
        "document.querySelector({selector:?})?.textContent.includes({text:?}) ?? false"
    ));
}

/// Waits until the page shows this health, by the attribute `data-health`.
fn health_is(page: &mut Page<'_>, health: &str) {
    page.wait_for(&format!("document.querySelector('#word').dataset.health === {health:?}"));
}

/// Asserts the properties that the page must have in every state and on every screen.
fn is_sound(page: &mut Page<'_>, ops: &str) {
    page.is_sound(&format!("http://{ops}/"));
    assert_eq!(page.evaluate("document.querySelectorAll('button, form, input, select').length"), 0);
    assert_eq!(page.complaints(), Vec::<String>::new());
}

/// Creates a configuration whose only targets, apart from the reaper's own table, are these tables.
/// Each table has a column `gone_at`.
fn file_of(tables: &[String]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let target = |table: &String| {
        format!(
            "[[target]]\ntable = '{table}'\nconfirmed = true\ndue = [{{ reason = \"gone\", column = \"gone_at\", keep = \"1h\" }}]\n"
        )
    };
    std::fs::write(file.path(), tables.iter().map(target).collect::<String>()).unwrap();
    file
}

async fn status_of(url: &str) -> Value {
    reqwest::get(format!("{url}status.json")).await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_page_shows_its_only_target() {
    let database = Database::create().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let own = "[[target]]\ntable = \"reaper_runs\"\ndue = [{ reason = \"expired\", column = \"started_at\", keep = \"30d\" }]\n";
    std::fs::write(file.path(), own).unwrap();
    let daemon =
        Daemon::start(&database, &[EVERY_SECOND, ("REAPER_CONFIG", file.path().to_str().unwrap())])
            .await;
    let mut browser = Browser::start();
    let mut page = shown(&mut browser, &daemon.url(), WIDE);
    health_is(&mut page, "healthy");
    page.wait_for("document.querySelectorAll('#targets tbody tr').length === 1");
    page.wait_for("document.querySelector('#targets tbody').innerText.includes('none due')");
    page.wait_for("document.querySelectorAll('#runs tbody tr').length > 1");
    shows(&mut page, "#targets tbody th", "reaper_runs");
    assert!(page.evaluate("document.title").as_str().unwrap().starts_with('✓'));
    assert!(page.evaluate("document.title").as_str().unwrap().contains(database.name()));
    shows(&mut page, "#who", database.name());
    is_sound(&mut page, &daemon.ops);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_twelve_targets_has_a_row_and_names_are_escaped() {
    let database = Database::create().await;
    let mut tables: Vec<String> = (1..=10).map(|n| format!("links_{n}")).collect();
    tables.push(r#""<img src=x onerror=document.title=1>""#.to_owned());
    for (index, table) in tables.iter().enumerate() {
        let rows = index * 100;
        database
            .execute(&format!(
                "CREATE TABLE {table} (id bigserial PRIMARY KEY, gone_at timestamptz); CREATE INDEX ON {table} (gone_at, id);
                 INSERT INTO {table} (gone_at) SELECT now() - interval '9 hours' - n * interval '1 s' FROM generate_series(1, {rows}) AS n"
            ))
            .await;
    }
    let file = file_of(&tables);
    let url = database.url();
    // Locked rows are kept, and are counted as backlog.
    let holder = database.client().await;
    holder.batch_execute("BEGIN; SELECT FROM links_4 FOR UPDATE").await.unwrap();
    let path = file.path().to_str().unwrap();
    let daemon =
        Daemon::start(&database, &[("DATABASE_URL", &url), EVERY_SECOND, ("REAPER_CONFIG", path)])
            .await;
    let mut browser = Browser::start();
    let mut page = shown(&mut browser, &daemon.url(), WIDE);
    page.wait_for("document.querySelectorAll('#targets tbody tr').length === 12");
    page.wait_for("document.querySelectorAll('#targets tbody tr')[3].innerText.includes('300')");
    page.wait_for("document.querySelectorAll('#targets tbody tr')[3].innerText.includes('8 h')");
    page.wait_for("document.querySelector('#sentence').textContent.includes('links_4: rows fell due 8 hours ago')");
    health_is(&mut page, "attention");
    let names = page
        .evaluate(
            "[...document.querySelectorAll('#targets tbody th')].map((cell) => cell.textContent)",
        )
        .to_string();
    assert!(names.contains("<img src=x onerror=document.title=1>"), "{names}");
    assert_eq!(page.evaluate("document.querySelectorAll('img').length"), 0);
    page.wait_for("document.querySelectorAll('#rows-plot svg .bar').length > 0");
    page.wait_for("document.querySelectorAll('#chunks-plot svg .dot').length > 0");
    is_sound(&mut page, &daemon.ops);
}

#[tokio::test(flavor = "multi_thread")]
async fn page_reports_missing_targets_and_runs() {
    let database = Database::create().await;
    let daemon = Daemon::start(&database, &[NEVER]).await;
    let mut browser = Browser::start();
    let mut page = shown(&mut browser, &daemon.url(), WIDE);
    health_is(&mut page, "unknown");
    shows(&mut page, "#runs", "There has been no run yet.");
    // Every configuration has a target, so the test removes the targets from the response.
    page.evaluate(
        "(() => { const ask = fetch; window.fetch = async (...what) => {
             const status = await (await ask(...what)).json(); status.targets = [];
             return new Response(JSON.stringify(status)); }; })()",
    );
    page.wait_for(
        "document.querySelector('#targets').textContent.includes('There are no targets')",
    );
    is_sound(&mut page, &daemon.ops);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_run_is_shown_with_its_reason_without_history() {
    let database = Database::empty().await;
    let url = database.url();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "preset = 'auth-api'").unwrap();
    let path = file.path().to_str().unwrap();
    let daemon =
        Daemon::start(&database, &[("DATABASE_URL", &url), EVERY_SECOND, ("REAPER_CONFIG", path)])
            .await;
    let mut browser = Browser::start();
    let mut page = shown(&mut browser, &daemon.url(), PHONE);
    health_is(&mut page, "failing");
    page.wait_for("document.querySelector('#sentence').textContent.includes('auth-api')");
    shows(&mut page, "#callouts", "session-reaper migrate");
    page.wait_for("document.querySelectorAll('#runs tbody tr').length > 0");
    shows(&mut page, "#runs tbody tr:last-child", "failed");
    page.wait_for("document.querySelectorAll('#rows-plot svg .bad').length > 0");
    is_sound(&mut page, &daemon.ops);
}

#[tokio::test(flavor = "multi_thread")]
async fn active_pause_is_shown_with_its_reason_escaped() {
    let database = Database::create().await;
    let daemon = Daemon::start(&database, &[NEVER]).await;
    let pause = |hours: i32| {
        format!(
            "INSERT INTO reaper_state (key, value) VALUES ('pause', jsonb_build_object(
                 'until', to_char(now() AT TIME ZONE 'UTC' + interval '{hours} hours', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                 'why', 'migration <script>document.title = ''taken''</script>', 'by', 'ada@db-1'))
             ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        )
    };
    database.execute(&pause(2)).await;
    let mut browser = Browser::start();
    let mut page = shown(&mut browser, &daemon.url(), PHONE);
    page.wait_for("document.querySelector('#pause') !== null");
    let banner = page.text("#pause");
    assert!(
        banner.contains("ada@db-1") && banner.contains("migration <script>document.title"),
        "{banner}"
    );
    health_is(&mut page, "attention");
    assert!(!page.evaluate("document.title").as_str().unwrap().contains("taken"));
    is_sound(&mut page, &daemon.ops);

    database.execute(&pause(-1)).await;
    page.wait_for("document.querySelector('#pause') === null");
}

#[tokio::test(flavor = "multi_thread")]
async fn page_follows_a_run_and_reports_outages() {
    let database = Database::create().await;
    expired_sessions(&database, 500).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '250'").await;
    let parking = Parking::at(&database, ParkAt::Row).await;
    let (proxy, through) = Proxy::before(&database.url_as("session_reaper")).await;
    let mut daemon = Daemon::start(&database, &[("DATABASE_URL", &through), EVERY_SECOND]).await;
    parking.wait_for_arrival().await;
    let mut browser = Browser::start();
    let mut page = shown(&mut browser, &daemon.url(), WIDE);
    page.wait_for("document.querySelector('#now').innerText.includes('deleting from sessions')");
    shows(&mut page, "#now", "200 of 500 rows");
    assert_eq!(page.evaluate("document.querySelector('#now progress').value"), 200);
    shows(&mut page, "#runs tbody tr", "running");
    let live = status_of(&daemon.url()).await;
    assert_eq!(live["live"]["run"]["outcome"], "running");
    assert_eq!(live["live"]["run"]["targets"][0]["deleted"]["expired"], 200);
    is_sound(&mut page, &daemon.ops);
    parking.open().await;
    page.wait_for("document.querySelector('#deleted').innerText.startsWith('500')");

    proxy.cut();
    health_is(&mut page, "failing");
    page.wait_for("document.querySelector('#sentence').textContent.includes('the database cannot be reached')");
    assert!(
        page.evaluate("document.querySelectorAll('#runs tbody tr').length").as_u64().unwrap() > 0
    );
    proxy.restore();
    health_is(&mut page, "healthy");

    daemon.program.signal("KILL");
    daemon.program.wait().await;
    page.wait_for("document.querySelector('#gone').checkVisibility()");
    shows(&mut page, "#gone", "The daemon cannot be reached since");
    shows(&mut page, "#pulse", "stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_page_sends_no_requests() {
    let database = Database::create().await;
    let daemon = Daemon::start(&database, &[NEVER]).await;
    let mut browser = Browser::start();
    let counting = "window.asked = window.answered = 0; const ask = fetch;
        window.fetch = async (...what) => {
            window.asked += 1;
            try { const answer = await ask(...what); return new Response(await answer.text(), answer); }
            finally { window.answered += 1; }
        };";
    let mut page = browser.open_with(&daemon.url(), WIDE, counting);
    page.wait_for("document.body?.dataset.shown === 'true'");
    let hide = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {hidden} }});
             document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    // Requests that the page sent before it was hidden are answered first.
    page.evaluate(&hide(true));
    page.wait_for("window.asked === window.answered");
    let before = page.evaluate("window.asked").as_u64().unwrap();
    // Two and a half times the interval between two requests.
    page.evaluate("new Promise((after) => setTimeout(() => after(true), 7500))");
    assert_eq!(page.evaluate("window.asked"), before);
    // The page sends a request as soon as it is visible again, before any timer fires.
    assert_eq!(page.evaluate(&format!("{}; window.asked", hide(false))), before + 1);
}

#[tokio::test]
async fn page_is_read_only_and_has_a_strict_policy() {
    let database = Database::create().await;
    let daemon = Daemon::start(&database, &[NEVER]).await;
    let client = reqwest::Client::new();
    let page = client.get(daemon.url()).send().await.unwrap();
    let header = |name: &str| page.headers()[name].to_str().unwrap().to_owned();
    let policy = header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(
        policy.contains("frame-ancestors 'none'") && policy.contains("connect-src 'self'"),
        "{policy}"
    );
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    for path in ["", "status.json"] {
        let url = format!("{}{path}", daemon.url());
        let head = client.head(&url).send().await.unwrap();
        assert_eq!(head.status(), 200, "{url}");
        assert_eq!(head.headers()["cache-control"], "no-store");
        assert_eq!(head.text().await.unwrap(), "");
        assert_eq!(client.post(&url).send().await.unwrap().status(), 405, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_viewers_cost_no_more_than_one() {
    let database = Database::create().await;
    let (proxy, through) = Proxy::before(&database.url_as("session_reaper")).await;
    let daemon = Daemon::start(&database, &[("DATABASE_URL", &through), NEVER]).await;
    // Wait until the daemon's own queries at startup are over.
    testkit::eventually("the daemon has registered its next run", async || {
        database.one::<i64>("SELECT count(*) FROM reaper_state WHERE key LIKE 'daemon:%'").await
            == 1
    })
    .await;
    testkit::eventually("the daemon has counted the backlog", async || {
        let metrics = reqwest::get(format!("{}metrics", daemon.url())).await.unwrap();
        let metrics = testkit::without_database(&metrics.text().await.unwrap());
        let sampled = "session_reaper_backlog_sampled_timestamp_seconds{target=";
        let mut lines = metrics.lines().filter(|line| line.starts_with(sampled)).peekable();
        lines.peek().is_some() && lines.all(|line| !line.ends_with(" 0"))
    })
    .await;
    let before = proxy.connections();
    // The daemon disconnects clients that are slow to send a request, so all viewers share one
    // client.
    let client = reqwest::Client::new();
    let began = std::time::Instant::now();
    let mut viewers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let request = client.get(format!("{}status.json", daemon.url()));
        viewers.spawn(async move {
            let status: Value = request.send().await.unwrap().json().await.unwrap();
            status["database"]["reachable"].is_boolean()
        });
    }
    assert!(viewers.join_all().await.iter().all(|reachable| *reachable));
    let connections = proxy.connections() - before;
    // The daemon reads the status at most every two seconds, regardless of how many viewers there
    // are and how long they wait. In addition, the daemon renews its registration every minute.
    let seconds = began.elapsed().as_secs();
    let most = seconds / 2 + 1 + seconds / 60;
    assert!(
        connections >= 1 && connections <= most,
        "{connections} connections in {seconds} s, not {most}"
    );
}

/// Creates docs/images. deploy/local/screenshots runs this test.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it creates screenshots, which people have to check"]
async fn screenshots() {
    let into = std::env::var("SCREENSHOTS").expect("SCREENSHOTS must name the output directory");
    let database = Database::create().await;
    history::of_a_day(&database).await;
    expired_sessions(&database, 4_180).await;
    // The sessions have become due since the last run in the history.
    database
        .execute(
            "UPDATE sessions SET expires_at = expires_at + interval '8 days 23 hours 46 min', absolute_expires_at = now(),
                                 user_agent = CASE user_agent WHEN '2350' THEN 'park' ELSE user_agent END",
        )
        .await;
    let parking = Parking::at(&database, ParkAt::Row).await;
    let tick = chrono::Utc::now() + chrono::TimeDelta::seconds(5);
    let schedule = tick.format("%-S %-M * * * *").to_string();
    let daemon = Daemon::start(&database, &[("SCHEDULE", &schedule), ("MAX_FRACTION", "1")]).await;
    let mut browser = Browser::start();
    let mut pictures = |name: &str, url: &str, until: &str| {
        for (suffix, screen) in [
            ("light", Screen { width: 1120, height: 880, dark: false }),
            ("dark", Screen { width: 1120, height: 880, dark: true }),
            ("phone", Screen { width: 390, height: 844, dark: false }),
        ] {
            let mut page = shown(&mut browser, url, screen);
            page.wait_for(until);
            let picture = page.picture();
            std::fs::write(Path::new(&into).join(format!("status-{name}-{suffix}.png")), picture)
                .unwrap();
        }
    };
    parking.wait_for_arrival().await;
    pictures("running", &daemon.url(), "document.querySelector('#now progress') !== null");
    parking.open().await;
    testkit::eventually("the run has ended", async || {
        database.one::<i64>("SELECT count(*) FROM reaper_runs WHERE finished_at IS NULL").await == 0
    })
    .await;
    // The times of the chunk that was stopped for its screenshot are not typical.
    let last = "started_at = (SELECT max(started_at) FROM reaper_runs)";
    let times = "jsonb_set(report, '{targets,0,chunk_ms}', '{\"mean\": 7.9, \"max\": 18.2}')";
    let touched = "finished_at = finished_at + interval '1 ms'";
    database
        .execute(&format!("UPDATE reaper_runs SET report = {times}, {touched} WHERE {last}"))
        .await;
    let settled = "document.querySelector('#now').innerText.startsWith('idle')
                   && ![...document.querySelectorAll('#chunks-plot text')].some((text) => text.textContent.endsWith('k'))";
    pictures("idle", &daemon.url(), settled);
    let why = "sessions: the connection that held the lock was lost: terminating connection due to administrator command";
    let failed = format!("outcome = 'failed', report = report || '{{\"why\": \"{why}\"}}'");
    database.execute(&format!("UPDATE reaper_runs SET {failed}, {touched} WHERE {last}")).await;
    pictures(
        "trouble",
        &daemon.url(),
        "document.querySelector('#word').dataset.health === 'failing'",
    );
}
