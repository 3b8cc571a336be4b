use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use pg::connect::ConnectOptions;
use reaper::store::migrate::{Migration, apply};
use tokio_postgres::Client;

use crate::{HANG, migrations};

/// A database that belongs to one test. It is dropped together with this value.
pub struct Database {
    server: String,
    name: String,
}

/// Creates the roles of the two programs and grants their privileges.
const ROLES: &str = include_str!("../../deploy/postgres/roles.sql");

/// Advisory lock that serializes the creation of the template. Any constant works.
const TEMPLATE_LOCK: i64 = 0x7465_7374;

impl Database {
    /// Creates a database with both sets of migrations and the roles. It is a copy of a template,
    /// which the first test creates.
    pub async fn create() -> Self {
        Self::create_on(server_url()).await
    }

    /// Creates the database on the server with this superuser URL.
    pub(crate) async fn create_on(server: String) -> Self {
        // Use a separate runtime: migrations require a multi-threaded one, and the runtime of the
        // test may be single-threaded.
        let url = server.clone();
        let template = tokio::task::spawn_blocking(move || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap()
                .block_on(template(&url))
        })
        .await
        .unwrap();
        Self::from_template(server, &template).await
    }

    /// Creates an empty database.
    pub async fn empty() -> Self {
        Self::from_template(server_url(), "template0").await
    }

    async fn from_template(server: String, template: &str) -> Self {
        let name = format!("t_{}", uuid::Uuid::now_v7().simple());
        let admin = connect(&server).await;
        admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await.unwrap();
        Self { server, name }
    }

    /// Returns the name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the URL of the database for a connection as the user in `DATABASE_URL`, who owns the
    /// tables.
    #[must_use]
    pub fn url(&self) -> String {
        with_database(&self.server, &self.name)
    }

    /// Returns the URL of the database for a connection with only the privileges of `role`
    /// (`auth_api` or `session_reaper`). The owner logs in and switches to that role, so that the
    /// tests leave no login roles on the server.
    #[must_use]
    pub fn url_as(&self, role: &str) -> String {
        let url = self.url();
        format!("{url}{}options=-c%20role%3D{role}", if url.contains('?') { '&' } else { '?' })
    }

    /// Opens a connection with the owner's privileges.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await
    }

    /// Applies deploy/postgres/roles.sql again, in a session in which the statements `settings` ran
    /// first.
    pub async fn apply_roles(&self, settings: &str) {
        let client = self.client().await;
        client.batch_execute(settings).await.unwrap();
        client.batch_execute(ROLES).await.unwrap_or_else(|e| panic!("roles.sql: {e:?}"));
    }

    /// Runs a query and returns the first column of its only row.
    pub async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str) -> T {
        self.client().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Moves the times of the last refreshes of all token sessions back by an interval such as `1
    /// minute`.
    pub async fn age_rotations(&self, by: &str) {
        let back = format!(
            "UPDATE token_families SET rotated_at = rotated_at - interval '{by}',
             previous_rotated_at = previous_rotated_at - interval '{by}'"
        );
        self.execute(&back).await;
    }

    /// Runs statements that return no rows.
    pub async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // Use a separate runtime on a separate thread: the runtime of the test may be shutting
        // down.
        let dropped = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                connect(&server)
                    .await
                    .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                    .await
            })
        })
        .join();
        if !matches!(dropped, Ok(Ok(()))) {
            eprintln!("could not drop the database {}", self.name);
        }
    }
}

fn server_url() -> String {
    std::env::var("DATABASE_URL").expect("DATABASE_URL is not set: run `make test`")
}

pub(crate) fn with_database(url: &str, name: &str) -> String {
    let (base, query) = url
        .split_once('?')
        .map_or((url, String::new()), |(base, query)| (base, format!("?{query}")));
    let (scheme, rest) = base.split_once("://").expect("DATABASE_URL is a URL");
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    format!("{scheme}://{host}/{name}{query}")
}

pub(crate) async fn connect(url: &str) -> Client {
    let url = format!(
        "{url}{}connect_timeout={}",
        if url.contains('?') { '&' } else { '?' },
        HANG.as_secs()
    );
    ConnectOptions::new(&url, "testkit").unwrap().connect().await.unwrap_or_else(|e| panic!("{e}"))
}

async fn template(server: &str) -> String {
    let mut hash = DefaultHasher::new();
    for Migration { name, up, down, in_transaction } in
        migrations::SETS.map(migrations::read).concat()
    {
        (name, up, down, in_transaction).hash(&mut hash);
    }
    ROLES.hash(&mut hash);
    let template = format!("testkit_{:016x}", hash.finish());

    let admin = connect(server).await;
    admin.execute("SELECT pg_advisory_lock($1)", &[&TEMPLATE_LOCK]).await.unwrap();
    let exists: bool = admin
        .query_one("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", &[&template])
        .await
        .unwrap()
        .get(0);
    if !exists {
        // Use a draft name until the template is complete.
        let draft = format!("{template}_draft");
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {draft}")).await.unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {draft} TEMPLATE template0")).await.unwrap();
        let options = ConnectOptions::new(&with_database(server, &draft), "testkit").unwrap();
        for set in migrations::SETS {
            apply(&options, &migrations::read(set)).await.unwrap();
        }
        let client = options.connect().await.unwrap();
        client.batch_execute(ROLES).await.unwrap();
        drop(client);
        // The server may still list the connection of the dropped client, and a database in use
        // cannot be renamed.
        admin
            .execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1",
                &[&draft],
            )
            .await
            .unwrap();
        admin.batch_execute(&format!("ALTER DATABASE {draft} RENAME TO {template}")).await.unwrap();
    }
    template
}
