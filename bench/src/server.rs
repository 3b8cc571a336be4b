//! The server on which the benchmark measures. It has a template database for each layout. Each
//! measurement uses a copy of a template, so that all measurements start with the same bytes.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use pg::connect::ConnectOptions;
use tokio_postgres::Client;
use url::Url;
use uuid::Uuid;

use crate::case::Layout;

const TABLE: &str = include_str!("../sql/table.sql");
const FILL: &str = include_str!("../sql/fill.sql");
const INDEXES: &str = include_str!("../sql/indexes.sql");

/// Settings that determine the cost of a delete. They are part of the results.
const SETTINGS: [&str; 8] = [
    "server_version",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "wal_level",
];

/// The server, and the databases that were created on it.
pub(crate) struct Server {
    url: Url,
    admin: Client,
    /// Prefix of the database names. It is unique, so that concurrent runs do not interfere, even
    /// within one process.
    prefix: String,
    /// The comment that is set on each created database. It contains the name of the database in
    /// the given URL.
    comment: String,
    made: Vec<String>,
}

/// A copy of a template database.
pub(crate) struct Copy {
    pub(crate) url: String,
    pub(crate) client: Client,
    name: String,
}

impl Server {
    pub(crate) async fn at(url: &str) -> Result<Self> {
        let admin = connect(url).await?;
        let url = Url::parse(url).context("DATABASE_URL must be a URL")?;
        let prefix = format!("bench_{}", Uuid::now_v7().simple());
        let comment = format!("made by a bench beside {}", url.path().trim_start_matches('/'));
        Ok(Self { url, admin, prefix, comment, made: Vec::new() })
    }

    /// Returns the settings as `name = value, …`.
    pub(crate) async fn settings(&self) -> Result<String> {
        let mut text = String::new();
        for name in SETTINGS {
            let value: String =
                self.admin.query_one("SELECT current_setting($1)", &[&name]).await?.get(0);
            let separator = if text.is_empty() { "" } else { ", " };
            write!(text, "{separator}{name} = {value}")?;
        }
        Ok(text)
    }

    /// Returns whether committed data survives a crash.
    pub(crate) async fn is_durable(&self) -> Result<bool> {
        let sql = "SELECT count(*) = 3 FROM pg_settings
                   WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'on'";
        Ok(self.admin.query_one(sql, &[]).await?.get(0))
    }

    /// Creates a template with `rows` rows, half of which are due. Returns its name and the size of
    /// the table in bytes.
    pub(crate) async fn template(&mut self, layout: Layout, rows: u64) -> Result<(String, i64)> {
        let name = format!("{}_{}_{rows}", self.prefix, layout.name());
        self.create(&name, "template0").await?;
        let client = connect(&self.url_of(&name)).await?;
        client.batch_execute(TABLE).await?;
        let fill = FILL.replace("{place}", layout.place()).replace("{rows}", &rows.to_string());
        client.batch_execute(&fill).await?;
        self.prepare(&name, INDEXES).await?;
        let bytes = client.query_one("SELECT pg_relation_size('sessions')", &[]).await?.get(0);
        drop(client);
        Ok((name, bytes))
    }

    /// Runs statements in a template, each in its own call, because VACUUM cannot run in a
    /// transaction block.
    pub(crate) async fn prepare(&self, template: &str, sql: &str) -> Result<()> {
        let client = connect(&self.url_of(template)).await?;
        for statement in sql.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            client.batch_execute(statement).await?;
        }
        Ok(())
    }

    /// Creates a copy, followed by a checkpoint, so that the measurement starts with everything on
    /// disk.
    pub(crate) async fn copy(&mut self, template: &str) -> Result<Copy> {
        let name = format!("{}_run", self.prefix);
        self.create(&name, template).await?;
        let url = self.url_of(&name);
        let client = connect(&url).await?;
        client.batch_execute("CHECKPOINT").await?;
        Ok(Copy { url, client, name })
    }

    /// Creates an empty database and returns its URL.
    pub(crate) async fn empty(&mut self, name: &str) -> Result<String> {
        let name = format!("{}_{name}", self.prefix);
        self.create(&name, "template0").await?;
        Ok(self.url_of(&name))
    }

    async fn create(&mut self, name: &str, template: &str) -> Result<()> {
        // A connection to the template that was closed a moment ago may not have ended yet.
        let terminate =
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
        self.admin.execute(terminate, &[&template]).await?;
        self.drop(name).await?;
        let version: i32 = self
            .admin
            .query_one("SELECT current_setting('server_version_num')::int", &[])
            .await?
            .get(0);
        // A copy through the WAL, page by page, would be slower. PostgreSQL 14 and earlier always
        // copy files.
        let strategy = if version >= 150_000 { "STRATEGY file_copy" } else { "" };
        self.admin
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template} {strategy}"))
            .await?;
        self.made.push(name.to_owned());
        let comment = self.comment.replace('\'', "''");
        self.admin.batch_execute(&format!("COMMENT ON DATABASE {name} IS '{comment}'")).await?;
        Ok(())
    }

    /// Drops a database.
    pub(crate) async fn drop(&mut self, name: &str) -> Result<()> {
        self.admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        self.made.retain(|made| made != name);
        Ok(())
    }

    /// Drops all databases that were created.
    pub(crate) async fn clear(&mut self) -> Result<()> {
        for name in self.made.clone() {
            self.drop(&name).await?;
        }
        Ok(())
    }

    fn url_of(&self, name: &str) -> String {
        let mut url = self.url.clone();
        url.set_path(name);
        url.into()
    }
}

impl Copy {
    /// Starts a transaction that holds a snapshot until the returned client is dropped.
    pub(crate) async fn old_snapshot(&self) -> Result<Client> {
        let client = connect(&self.url).await?;
        client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
            .await?;
        Ok(client)
    }

    /// Returns the current WAL position in bytes.
    pub(crate) async fn wal_position(&self) -> Result<u64> {
        let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
        Ok(u64::try_from(self.client.query_one(sql, &[]).await?.get::<_, i64>(0))?)
    }

    /// Returns the numbers of due rows and of other rows.
    pub(crate) async fn rows(&self) -> Result<(u64, u64)> {
        let sql = "SELECT count(*) FILTER (WHERE due), count(*) FILTER (WHERE NOT due)
                   FROM (SELECT expires_at < now() - interval '1 day' AS due FROM sessions) AS every";
        let row = self.client.query_one(sql, &[]).await?;
        Ok((u64::try_from(row.get::<_, i64>(0))?, u64::try_from(row.get::<_, i64>(1))?))
    }

    /// If the extension `pg_prewarm` of the contrib package is available, loads the whole database
    /// into the buffers of the server.
    pub(crate) async fn warm(&self) -> Result<()> {
        let can = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_prewarm')";
        if self.client.query_one(can, &[]).await?.get(0) {
            let sql = "CREATE EXTENSION IF NOT EXISTS pg_prewarm;
                       SELECT pg_prewarm(oid) FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace";
            self.client.batch_execute(sql).await?;
        }
        Ok(())
    }

    /// Terminates the connections of a program.
    pub(crate) async fn end(&self, application: &str) -> Result<()> {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = $1";
        self.client.execute(sql, &[&application]).await?;
        Ok(())
    }

    /// Drops the copy.
    pub(crate) async fn drop(self, server: &mut Server) -> Result<()> {
        drop(self.client);
        server.drop(&self.name).await
    }
}

pub(crate) async fn connect(url: &str) -> Result<Client> {
    Ok(ConnectOptions::new(url, "bench")?.connect().await?)
}
