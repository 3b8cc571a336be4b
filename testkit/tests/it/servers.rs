//! Checks the private servers of tests.

use testkit::{Server, eventually};
use tokio::task::JoinSet;
use tokio_postgres::Client;

#[tokio::test]
async fn server_has_its_settings_and_ends_with_its_owner() {
    let server = Server::start(&[("autovacuum", "off"), ("log_min_duration_statement", "0")]).await;
    let client = server.client().await;
    assert_eq!(client.query_one("SHOW autovacuum", &[]).await.unwrap().get::<_, String>(0), "off");
    eventually("the statement is logged", async || server.log().contains(": SHOW autovacuum"))
        .await;
    drop(server.database().await);

    let url = server.url();
    drop(server);
    assert!(tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_err());
}

#[tokio::test]
async fn log_keeps_long_messages_of_several_server_processes_whole() {
    // A message of this length fills a pipe, so the message of another process would follow its
    // first part.
    const LENGTH: usize = 100_000;
    let server = Server::start(&[("log_statement", "all"), ("log_line_prefix", "")]).await;
    let mut writers = JoinSet::new();
    for letter in ["a", "b", "c", "d"] {
        let (client, statement) =
            (server.client().await, format!("SELECT '{}'", letter.repeat(LENGTH)));
        writers.spawn(async move {
            for _ in 0..25 {
                client.batch_execute(&statement).await.unwrap();
            }
        });
    }
    writers.join_all().await;

    let log = server.log();
    let whole = |letter: &str| format!("LOG:  statement: SELECT '{}'", letter.repeat(LENGTH));
    for letter in ["a", "b", "c", "d"] {
        let whole = whole(letter);
        assert_eq!(log.lines().filter(|line| *line == whole).count(), 25, "{letter}");
    }
}

async fn rows(replica: &Client) -> i64 {
    replica.query_one("SELECT count(*) FROM rows", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn replica_follows_its_primary_unless_paused() {
    let primary = Server::start(&[]).await;
    let writer = primary.client().await;
    writer.batch_execute("CREATE TABLE rows AS SELECT 1").await.unwrap();
    let replica = primary.replica().await;
    let reader = replica.client().await;
    eventually("the replica streams", async || {
        let streams = "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'";
        writer.query_one(streams, &[]).await.unwrap().get(0)
    })
    .await;

    writer.batch_execute("INSERT INTO rows VALUES (2)").await.unwrap();
    replica.catch_up().await;
    assert_eq!(rows(&reader).await, 2);

    replica.pause().await;
    writer.batch_execute("INSERT INTO rows VALUES (3)").await.unwrap();
    eventually("the replica has received WAL that it does not replay", async || {
        let received =
            "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) > 0";
        reader.query_one(received, &[]).await.unwrap().get(0)
    })
    .await;
    assert_eq!(rows(&reader).await, 2);

    replica.resume().await;
    replica.catch_up().await;
    assert_eq!(rows(&reader).await, 3);
}
