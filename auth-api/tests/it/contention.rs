//! Many clients that contend for a few accounts.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::{AuthApi, Database, Wallet};

const CLIENTS: usize = 64;
const ACCOUNTS: usize = 4;
/// The number of additional clients, each with its own account. No other login ends their sessions,
/// so a logout and a reuse occur even on a slow machine.
const ALONE: usize = 3;
/// Logins per client.
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contending_clients_cause_no_deadlock_and_no_5xx() {
    let database = Database::create().await;
    let env = [("SESSION_LIMIT", "5"), ("RUST_LOG", "warn,auth_api::commands=info")];
    let mut api = AuthApi::start(&database, &env).await;
    let wallets: Vec<Wallet> = (0..ACCOUNTS + ALONE).map(|_| Wallet::generate()).collect();
    let statuses: Vec<AtomicUsize> = (0..600).map(|_| AtomicUsize::new(0)).collect();
    let clients = (0..CLIENTS + ALONE).map(|client| {
        let account = client.checked_sub(CLIENTS).map_or(client % ACCOUNTS, |alone| ACCOUNTS + alone);
        let (api, database, wallet, statuses) = (&api, &database, &wallets[account], &statuses);
        async move {
            let count =
                |status: reqwest::StatusCode| statuses[usize::from(status.as_u16())].fetch_add(1, Ordering::Relaxed);
            for _ in 0..ROUNDS {
                let answer = api.try_login(wallet).await;
                count(answer.status);
                if answer.status != 200 {
                    continue;
                }
                let mut tokens = answer.tokens();
                for step in 0..6 {
                    // Two concurrent refreshes, and sometimes an old token: this causes retries,
                    // reuse and revocation.
                    let (one, other) = tokio::join!(api.refresh(&tokens.refresh), api.refresh(&tokens.refresh));
                    count(one.status);
                    count(other.status);
                    if one.status != 200 {
                        break;
                    }
                    let next = one.tokens();
                    if step == 3 && client % 3 == 0 {
                        count(api.refresh(&next.refresh).await.status);
                        // The rotation happened long before the request with the old token.
                        let sid = &tokens.session_id;
                        let age = format!(
                            "UPDATE token_families SET rotated_at = rotated_at - interval '1 minute',
                             previous_rotated_at = previous_rotated_at - interval '1 minute' WHERE session_id = '{sid}'"
                        );
                        database.execute(&age).await;
                        count(api.refresh(&tokens.refresh).await.status);
                    }
                    tokens = next;
                }
                if client % 2 == 0 {
                    count(api.logout(&tokens.access).await.status);
                }
            }
        }
    });
    futures_util::future::join_all(clients).await;

    let seen: BTreeMap<usize, usize> = statuses
        .iter()
        .enumerate()
        .map(|(status, count)| (status, count.load(Ordering::Relaxed)))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert!(
        seen.keys().all(|status| [200, 204, 401].contains(status)),
        "{seen:?}\n{}",
        api.program.stderr()
    );
    // At least one success per login.
    assert!(seen[&200] >= CLIENTS * ROUNDS, "{seen:?}");
    // PostgreSQL backends report their statistics when they exit.
    api.program.signal("TERM");
    assert_eq!(api.program.wait().await.code(), Some(0));
    let disconnected = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'auth-api' AND datname = current_database()";
    testkit::eventually("all connections of auth-api are closed", async || {
        database.one(disconnected).await
    })
    .await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(database.one::<i64>(deadlocks).await, 0);
    let most = "SELECT coalesce(max(live), 0) FROM (
        SELECT count(*) AS live FROM sessions WHERE revoked_at IS NULL GROUP BY account_id) AS accounts";
    assert!(database.one::<i64>(most).await <= 5);
    for reason in ["logout", "limit", "reuse"] {
        let revoked = format!("SELECT count(*) FROM sessions WHERE revoked_reason = '{reason}'");
        assert!(database.one::<i64>(&revoked).await > 0, "no session ended by {reason}");
    }
}
