//! Many clients on few accounts.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::{AuthApi, Database, Wallet};

const CLIENTS: usize = 64;
const ACCOUNTS: usize = 4;
/// More clients, each alone on an account: no login of others ends their sessions, so that one is
/// logged out and one reused on any machine.
const ALONE: usize = 3;
/// Logins of each client.
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_clients_on_the_same_accounts_cause_no_deadlock_and_no_5xx() {
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
                    // Two at once, an old one now and then: retries, reuse and revocation all happen.
                    let (one, other) = tokio::join!(api.refresh(&tokens.refresh), api.refresh(&tokens.refresh));
                    count(one.status);
                    count(other.status);
                    if one.status != 200 {
                        break;
                    }
                    let next = one.tokens();
                    if step == 3 && client % 3 == 0 {
                        count(api.refresh(&next.refresh).await.status);
                        // Long before the request with the old one.
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
    // A login each, and the two refreshes after it.
    assert!(seen[&200] >= CLIENTS * ROUNDS, "{seen:?}");
    // Its back ends report when they go.
    api.program.signal("TERM");
    assert_eq!(api.program.wait().await.code(), Some(0));
    let gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'auth-api' AND datname = current_database()";
    testkit::eventually("its connections have ended", async || database.one(gone).await).await;
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
