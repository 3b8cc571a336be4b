//! A million tokens in groups, half of which are kept because one of their tokens is not due. A
//! statement at the end of the run must not read many more blocks than one at the start.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

#[allow(dead_code, reason = "the preset tests use the rest")]
use crate::preset_tables as tables;

use std::collections::BTreeMap;

use serde_json::Value;
use tables::{indexed, write_tables};
use testkit::{Database, Server, reap};

/// Inserts 100,000 families (groups) of ten tokens, in chronological order. All tokens of a family
/// except the newest were replaced long ago. The newest token has not expired in every second
/// family.
const FILL: &str = "
    INSERT INTO users VALUES ('u');
    INSERT INTO refresh_tokens (id, user_id, token_hash, family, expires_at, revoked_at)
        SELECT 'id ' || i, 'u', 'hash ' || i, 'family ' || f,
            CASE WHEN n = 10 AND f % 2 = 0 THEN now() + interval '1 day' ELSE now() - interval '20 days' END
                + i * interval '1 s',
            CASE WHEN n < 10 THEN now() - interval '40 days' + i * interval '1 s' END
        FROM generate_series(1, 10) AS n, generate_series(1, 100000) AS f, LATERAL (SELECT n * 100000 + f) AS r (i);
    ANALYZE refresh_tokens;";

/// Returns how many blocks each execution of each statement of the reaper read, in the order in
/// which the executions ended.
fn blocks_read(log: &str) -> BTreeMap<String, Vec<u64>> {
    let mut read: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        if !(line.starts_with("session-reaper LOG:  duration: ") && line.ends_with(" plan:")) {
            continue;
        }
        let mut plan = String::new();
        while let Some(more) = lines.next_if(|line| line.starts_with('\t')) {
            plan.push_str(more);
        }
        let plan: Value = serde_json::from_str(&plan).unwrap();
        // A statement that was only explained has no block counts.
        let blocks =
            ["Shared Hit Blocks", "Shared Read Blocks"].map(|kind| plan["Plan"][kind].as_u64());
        if let [Some(hit), Some(read_in)] = blocks {
            read.entry(plan["Query Text"].as_str().unwrap().to_owned())
                .or_default()
                .push(hit + read_in);
        }
    }
    read
}

/// Asserts that no execution of a statement reads more than three times as many blocks as the
/// median of its first nine executions for chunks of full size. (The first chunks are smaller, and
/// are ignored.) A statement that read all kept or all deleted rows would read thousands of blocks.
/// Statements that are executed only a few times are not checked, because they read the catalog or
/// count the backlog.
fn assert_no_statement_reads_more(log: &str, at_least: usize) {
    const SMALLER: usize = 12;
    let mut deletes = 0;
    for (statement, read) in
        blocks_read(log).into_iter().filter(|(_, read)| read.len() >= SMALLER + 9)
    {
        let mut first = read[SMALLER..SMALLER + 9].to_vec();
        first.sort_unstable();
        let (first, most) = (first[4], read.iter().copied().max().unwrap_or(0));
        let summary = format!(
            "{} executions: {first} blocks at first, at most {most}: {statement:.70}",
            read.len()
        );
        eprintln!("{summary}");
        assert!(most <= (3 * first).max(100), "{summary}");
        if statement.contains("DELETE FROM") {
            deletes += read.len();
        }
    }
    assert!(deletes >= at_least, "the log contains only {deletes} deletes");
}

/// Runs with the built-in targets for these tables, in this scan order and in chunks (transactions)
/// of 1,000 rows. Returns the number of deleted rows.
async fn deleted(database: &Database, order: &str) -> i64 {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = format!(
        "preset = 'prisma-refresh-tokens'\n[[target]]\ntable = 'refresh_tokens'\norder = '{order}'"
    );
    std::fs::write(file.path(), config).unwrap();
    let env = [
        ("DATABASE_URL", database.url()),
        ("REAPER_CONFIG", file.path().to_str().unwrap().to_owned()),
        // The maximum determines the size of all chunks but the first ones.
        ("MAX_CHUNK", "1000".to_owned()),
        ("CHUNK_TIME", "2s".to_owned()),
    ];
    let run = reap(database, &env.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    assert_eq!(run.code, Some(0), "{}{}", run.report, run.stderr);
    // If a chunk was retried, statements were canceled. The log does not contain canceled
    // statements.
    assert!(!run.stderr.contains("chunk_retried"), "{}", run.stderr);
    let reasons = run.target("refresh_tokens")["deleted"].as_object().unwrap();
    reasons.values().map(|rows| rows.as_i64().unwrap()).sum()
}

#[tokio::test]
async fn group_of_a_million_rows_is_deleted_at_a_constant_cost() {
    // Without autovacuum, dead rows stay in the indexes.
    let settings = [
        ("autovacuum", "off"),
        ("shared_buffers", "512MB"),
        ("max_wal_size", "8GB"),
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_buffers", "on"),
        ("auto_explain.log_timing", "off"),
        ("auto_explain.log_format", "json"),
        ("log_line_prefix", "%a "),
    ];
    let server = Server::start(&settings).await;
    // The database has the reaper's own tables, which record the first run. Otherwise the second
    // run, which empties the table, would be refused.
    let database = server.database().await;
    write_tables(&database, "prisma-refresh-tokens").await;
    database.execute(FILL).await;
    indexed(&database, "prisma-refresh-tokens").await;

    assert_eq!(deleted(&database, "index").await, 500_000);
    let of_live_families =
        "SELECT count(*) FROM refresh_tokens WHERE substr(family, 8)::int % 2 = 0";
    assert_eq!(database.one::<i64>(of_live_families).await, 500_000);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM refresh_tokens").await, 500_000);
    let log = server.log();
    assert_no_statement_reads_more(&log, 1_000);

    database.execute("UPDATE refresh_tokens SET expires_at = now() - interval '2 days' WHERE expires_at > now()").await;
    assert_eq!(deleted(&database, "heap").await, 500_000);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM refresh_tokens").await, 0);
    assert_no_statement_reads_more(&server.log()[log.len()..], 100);
}
