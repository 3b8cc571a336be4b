//! Checks that no statement of either program scans a whole table when each table has half a
//! million rows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use testkit::{AuthApi, Database, Program, Proxy, Redis, Statement, Wallet, binary};
use tokio_postgres::Client;

const TABLES: [&str; 6] = [
    "accounts",
    "sessions",
    "token_families",
    "consumed_challenges",
    "reaper_runs",
    "reaper_state",
];

/// Fills each table with half a million rows. 2,000 rows are due for each reason for which the
/// reaper deletes rows, and 3,000 sessions have just been revoked. All other rows are live.
const FILL: &str = "
    INSERT INTO accounts (id, issuer, subject)
        SELECT gen_random_uuid(), 'stellar:testnet', 'G' || i FROM generate_series(1, 500000) i;
    INSERT INTO sessions (id, account_id, expires_at, absolute_expires_at, revoked_at)
        SELECT gen_random_uuid(), id, due, due,
            CASE WHEN n <= 3000 THEN now() WHEN n <= 5000 THEN now() - interval '8 days' END
        FROM (SELECT id, row_number() OVER () AS n FROM accounts) a,
            LATERAL (SELECT now() + (n % 30) * interval '1 day' + CASE WHEN n > 498000 THEN interval '-40 days'
                ELSE interval '1 hour' END AS due) d;
    INSERT INTO token_families (session_id, generation, token_hash) SELECT id, 0, sha256('') FROM sessions;
    INSERT INTO consumed_challenges
        SELECT sha256(i::text::bytea), now() + (i - 2000) * interval '1 minute' FROM generate_series(1, 500000) i;
    INSERT INTO reaper_runs (id, instance, version, trigger, started_at)
        SELECT gen_random_uuid(), 'i', 'v', 'manual', now() - interval '30 days' + (i - 2000) * interval '5 seconds'
        FROM generate_series(1, 500000) i;
    INSERT INTO reaper_state SELECT i::text, '{}' FROM generate_series(1, 500000) i;
    ANALYZE;";

async fn sequential_scans(client: &Client) -> BTreeMap<String, i64> {
    let rows = client
        .query(
            "SELECT relname::text, seq_scan FROM pg_stat_user_tables WHERE relname = ANY ($1)",
            &[&&TABLES[..]],
        )
        .await
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Sends requests that make auth-api execute all its statements, in all variants.
async fn use_the_api(api: &AuthApi, redis: &mut Redis, database: &Database) {
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    let first = api.submit(&message, &wallet.sign(&message)).await.tokens();
    api.submit(&message, &wallet.sign(&message)).await.is_problem(401, "login_refused");
    let second = api.login(&wallet).await;
    assert_eq!(api.session(&first.access).await.status, 401, "SESSION_LIMIT is 1");
    // A refresh that extends the expiry, a retry, and an old token.
    let behind = "UPDATE sessions SET expires_at = expires_at - interval '2 days' WHERE id = ";
    database.execute(&format!("{behind}'{}'", second.session_id)).await;
    let third = api.refresh(&second.refresh).await.tokens();
    assert_eq!(api.refresh(&second.refresh).await.tokens().refresh, third.refresh);
    let fourth = api.refresh(&third.refresh).await.tokens();
    assert_eq!(api.session(&fourth.access).await.status, 200);
    api.refresh(&second.refresh).await.is_problem(401, "refresh_refused");
    // A cookie login that replaces another session, a last-seen update, a sliding extension, and
    // the list of sessions.
    let replaced = api.cookie_login(&wallet).await;
    let answer = api.try_cookie_login(&wallet, Some(&replaced)).await;
    let cookie = answer.cookie();
    let id = answer.body["session_id"].as_str().unwrap().to_owned();
    database
        .execute(&format!(
            "UPDATE sessions SET expires_at = expires_at - interval '2 days', last_seen_at = now() - interval '1 hour'
             WHERE id = '{id}'"
        ))
        .await;
    assert_eq!(api.with_cookie("GET", "/auth/sessions", &cookie).await.status, 200);
    testkit::eventually("the session was extended", async || {
        let extended =
            format!("SELECT expires_at > now() + interval '29 days 12 hours' FROM sessions WHERE id = '{id}'");
        database.one(&extended).await
    })
    .await;
    assert_eq!(
        api.with_cookie("DELETE", "/auth/sessions?except=current", &cookie).await.status,
        200
    );
    assert_eq!(
        api.with_cookie("DELETE", &format!("/auth/sessions/{id}"), &cookie).await.status,
        204
    );
    let last = api.login(&wallet).await;
    redis.kill();
    assert_eq!(api.session(&last.access).await.status, 200);
    redis.run();
    assert_eq!(
        api.post("/auth/logout", &json!({ "refresh_token": last.refresh })).await.status,
        204
    );
    testkit::eventually("the denylist is rebuilt over several pages", async || {
        redis.command("DBSIZE").trim_start_matches(':').trim().parse::<u64>().unwrap() > 3000
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_scans_a_large_table() {
    let database = Database::create().await;
    database.execute(FILL).await;
    let client = database.client().await;
    let before = sequential_scans(&client).await;

    let mut redis = Redis::start();
    let (api_proxy, api_url) = Proxy::before(&database.url_as("auth_api")).await;
    let env =
        [("DATABASE_URL", api_url.as_str()), ("REDIS_URL", &redis.url()), ("SESSION_LIMIT", "1")];
    let mut api = AuthApi::start(&database, &env).await;
    use_the_api(&api, &mut redis, &database).await;
    api.program.signal("TERM");
    assert!(api.program.wait().await.success());

    let (reaper_proxy, reaper_url) = Proxy::before(&database.url_as("session_reaper")).await;
    let env = [("DATABASE_URL", reaper_url.as_str()), ("DUTY_CYCLE", "1"), ("MAX_CHUNK", "500")];
    let (code, run) =
        Program::run(binary("session-reaper"), &["run", "--output", "json"], &env).await;
    assert_eq!(code, Some(0), "{}{}", run.stdout(), run.stderr());
    let report: serde_json::Value = serde_json::from_str(&run.stdout()).unwrap();
    let deleted = |target: usize, reason: &str| {
        report["targets"][target]["deleted"][reason].as_u64().unwrap()
    };
    assert_eq!((deleted(0, "expired"), deleted(0, "revoked")), (2000, 2000), "{report}");
    assert!(deleted(1, "expired") > 1900 && deleted(2, "expired") > 1900, "{report}");

    // First, check the statements that ran: they must not have increased the number of sequential
    // scans that the server counts. A connection reports its statistics when it ends, so wait until
    // the connections of the programs have ended.
    testkit::eventually("the programs' connections have ended", async || {
        let left =
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'testkit'";
        client.query_one(left, &[]).await.unwrap().get(0)
    })
    .await;
    client.batch_execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
    assert_eq!(sequential_scans(&client).await, before, "number of sequential scans");

    // Then check all statements that were prepared, whether or not they ran: examine the plans that
    // the server would choose for them.
    let of_api =
        explain(&client, &api_proxy.statements(), &["force_generic_plan", "force_custom_plan"], "")
            .await;
    // Explain the reaper's statements with the settings that the reaper sets on its connections.
    let reaper_statements = reaper_proxy.statements();
    let settings: Vec<&str> = reaper_statements
        .iter()
        .map(|statement| statement.text.as_str())
        .filter(|text| text.starts_with("SET ") && text.contains("statement_timeout"))
        .collect();
    let of_reaper =
        explain(&client, &reaper_statements, &["force_custom_plan"], &settings.join("; ")).await;
    assert!(
        of_api >= 10 && of_reaper >= 8,
        "only {of_api} and {of_reaper} statements were recorded"
    );
}

/// Explains every statement on the tables of the two programs and returns the number of statements.
async fn explain(
    client: &Client,
    statements: &BTreeSet<Statement>,
    modes: &[&str],
    settings: &str,
) -> usize {
    let mut explained = 0;
    for Statement { text, types } in statements {
        let verb =
            text.lines().find(|line| !line.trim_start().starts_with("--")).unwrap_or_default();
        let verb = verb.split_whitespace().next().unwrap_or_default();
        let ours = TABLES.iter().any(|table| text.contains(table));
        if !ours || !["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&verb) {
            continue;
        }
        client.batch_execute(settings).await.unwrap();
        let given: Vec<String> = types
            .iter()
            .map(|oid| tokio_postgres::types::Type::from_oid(*oid).unwrap().to_string())
            .collect();
        let given =
            if given.is_empty() { String::new() } else { format!("({})", given.join(", ")) };
        let prepare = format!("PREPARE explained {given} AS {text}");
        client.batch_execute(&prepare).await.unwrap_or_else(|e| panic!("{prepare}: {e:?}"));
        let types: Vec<String> = client
            .query_one("SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'explained'", &[])
            .await
            .unwrap()
            .get(0);
        let values: Vec<String> =
            types.iter().enumerate().map(|(at, ty)| plausible(text, at + 1, ty)).collect();
        let values =
            if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
        for mode in modes {
            client.batch_execute(&format!("SET plan_cache_mode = {mode}")).await.unwrap();
            let plan: Vec<String> = client
                .query(&format!("EXPLAIN EXECUTE explained{values}"), &[])
                .await
                .unwrap_or_else(|e| panic!("{text}{values}: {e:?}"))
                .iter()
                .map(|row| row.get(0))
                .collect();
            let plan = plan.join("\n");
            // An index scan without a condition reads the whole index, which is as bad as a
            // sequential scan.
            let lines: Vec<&str> = plan.lines().collect();
            for (at, line) in lines
                .iter()
                .enumerate()
                .filter(|(_, line)| line.contains("Index") && line.contains(" on "))
            {
                let condition = lines.get(at + 1).is_some_and(|next| next.contains("Index Cond:"));
                assert!(condition, "{mode}\n{text}\n{plan}\n{line}");
            }
            for table in TABLES {
                assert!(!plan.contains(&format!("Seq Scan on {table}")), "{mode}\n{text}\n{plan}");
            }
        }
        client.batch_execute("DEALLOCATE explained; RESET ALL").await.unwrap();
        explained += 1;
    }
    explained
}

/// Returns a plausible value for a parameter of the statement.
fn plausible(text: &str, number: usize, ty: &str) -> String {
    let cast = text.split(&format!("${number}::text::")).nth(1).map(|rest| {
        rest.chars()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '"'))
            .collect::<String>()
    });
    match (cast.as_deref().unwrap_or(ty), ty) {
        ("uuid", _) => "gen_random_uuid()::text::uuid"
            .replace("::text::uuid", if ty == "text" { "::text" } else { "" }),
        (kind, _) if kind.starts_with("timestamp") => {
            format!("(now() - interval '10 days')::{}", if ty == "text" { "text" } else { ty })
        }
        ("uuid[]", _) => "ARRAY[gen_random_uuid()]".into(),
        (kind, _) if kind.ends_with("[]") => format!("'{{}}'::{ty}"),
        ("bytea", _) => format!("'\\x00'::{ty}"),
        ("interval", _) => "interval '16 minutes'".into(),
        ("bigint" | "integer" | "oid", _) => format!("500::{ty}"),
        ("jsonb", _) => "'{}'::jsonb".into(),
        ("inet", _) => "'127.0.0.1'::inet".into(),
        _ => format!("'x'::{ty}"),
    }
}
