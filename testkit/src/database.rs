use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use schema::connect::ConnectOptions;
use schema::migrate::{self, MigrationSet};
use tokio_postgres::Client;

use crate::HANG;

/// A database of the test's own, dropped with it.
pub struct Database {
    server: String,
    name: String,
}

/// The roles that the programs have.
const ROLES: &str = include_str!("../../deploy/postgres/roles.sql");

/// Serialises the making of the template; any constant does.
const TEMPLATE_LOCK: i64 = 0x7465_7374;

impl Database {
    /// A database with both sets of migrations and the roles, copied from a template that the first
    /// test makes.
    pub async fn create() -> Self {
        Self::create_on(server_url()).await
    }

    /// The same, on the server with this superuser's URL.
    pub(crate) async fn create_on(server: String) -> Self {
        // On a runtime of its own: applying migrations takes a multi-threaded one, which a test
        // need not have.
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

    /// A database with nothing in it.
    pub async fn empty() -> Self {
        Self::from_template(server_url(), "template0").await
    }

    async fn from_template(server: String, template: &str) -> Self {
        let name = format!("t_{}", uuid::Uuid::now_v7().simple());
        let admin = connect(&server).await;
        admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await.unwrap();
        Self { server, name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL with the rights of `DATABASE_URL`'s user: the owner of the tables.
    #[must_use]
    pub fn url(&self) -> String {
        with_database(&self.server, &self.name)
    }

    /// Its URL with just the rights of `role` (`auth_api` or `session_reaper`): the owner logs in
    /// and becomes that role, so that no login of the tests' own is left behind on the server.
    #[must_use]
    pub fn url_as(&self, role: &str) -> String {
        let url = self.url();
        format!("{url}{}options=-c%20role%3D{role}", if url.contains('?') { '&' } else { '?' })
    }

    /// A connection with the owner's rights.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await
    }

    /// Applies deploy/postgres/roles.sql again, in the session of these settings before it.
    pub async fn apply_roles(&self, settings: &str) {
        let client = self.client().await;
        client.batch_execute(settings).await.unwrap();
        client.batch_execute(ROLES).await.unwrap_or_else(|e| panic!("roles.sql: {e:?}"));
    }

    /// One value of one row.
    pub async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str) -> T {
        self.client().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Moves the rotations of all token sessions back by an interval such as `1 minute`.
    pub async fn age_rotations(&self, by: &str) {
        let back = format!(
            "UPDATE token_families SET rotated_at = rotated_at - interval '{by}',
             previous_rotated_at = previous_rotated_at - interval '{by}'"
        );
        self.execute(&back).await;
    }

    /// Statements that return nothing.
    pub async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A runtime of its own on a thread of its own: the test's may be on its way out.
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
            eprintln!("the database {} was left behind", self.name);
        }
    }
}

fn server_url() -> String {
    std::env::var("DATABASE_URL")
        .expect("DATABASE_URL names the server to test on: run `make test`")
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
    for file in migration_files() {
        std::fs::read(file).unwrap().hash(&mut hash);
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
        // Under another name until it is whole.
        let draft = format!("{template}_draft");
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {draft}")).await.unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {draft} TEMPLATE template0")).await.unwrap();
        let options = ConnectOptions::new(&with_database(server, &draft), "testkit").unwrap();
        for set in [MigrationSet::Auth, MigrationSet::Reaper] {
            migrate::run(&options, set).await.unwrap();
        }
        let client = options.connect().await.unwrap();
        client.batch_execute(ROLES).await.unwrap();
        drop(client);
        // The client's connection ends a moment after it was dropped, and a database in use is not
        // renamed.
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

/// Every `up.sql` and `down.sql`, in order.
fn migration_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut files: Vec<PathBuf> = ["auth", "reaper"]
        .iter()
        .flat_map(|set| std::fs::read_dir(root.join(set)).unwrap())
        .map(|entry| entry.unwrap().path())
        .flat_map(|migration| [migration.join("up.sql"), migration.join("down.sql")])
        .collect();
    files.sort();
    files
}
