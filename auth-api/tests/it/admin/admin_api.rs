//! An API with an admin port, and helpers that send operator requests.

use schema::ids::SessionId;
use serde_json::Value;
use testkit::{Answer, AuthApi, Database};

/// The operator token.
pub const TOKEN: &str = "operators-token-of-a-test-0123456789";

/// An API with an operator token.
pub struct AdminApi {
    pub database: Database,
    pub api: AuthApi,
    /// The directory that contains the file `token`.
    pub directory: tempfile::TempDir,
}

impl AdminApi {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(more: &[(&str, &str)]) -> Self {
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
        let mut env = vec![("ADMIN_TOKEN_FILE", file.to_str().unwrap())];
        env.extend_from_slice(more);
        let database = Database::create().await;
        let api = AuthApi::start(&database, &env).await;
        Self { database, api, directory }
    }

    pub async fn send(&self, method: &str, path: &str) -> Answer {
        let request = self.api.client.request(method.parse().unwrap(), self.api.admin(path));
        self.api.send(request.bearer_auth(TOKEN)).await
    }

    pub async fn list(&self, query: &str) -> Value {
        let answer = self.send("GET", &format!("/admin/sessions{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        answer.body
    }

    pub async fn revoke(&self, body: &Value) -> Answer {
        let request = self.api.client.post(self.api.admin("/admin/sessions/revoke"));
        self.api.send(request.bearer_auth(TOKEN).json(body)).await
    }

    /// Creates live sessions for one account. Returns their ids in ascending order.
    pub async fn fill(&self, sessions: usize) -> Vec<String> {
        let account = "INSERT INTO accounts (id, issuer, subject)
            VALUES ('00000000-0000-7000-8000-000000000001', 'stellar:testnet', 'G1') ON CONFLICT DO NOTHING";
        self.database.execute(account).await;
        let ids: Vec<String> = (0..sessions).map(|_| SessionId::generate().to_string()).collect();
        self.database
            .execute(&format!(
                "INSERT INTO sessions (id, account_id, expires_at, absolute_expires_at)
                 SELECT id, '00000000-0000-7000-8000-000000000001', now() + interval '1 day', now() + interval '1 day'
                 FROM unnest('{{{}}}'::uuid[]) AS id",
                ids.join(",")
            ))
            .await;
        ids
    }

    /// Waits until the log contains `times` events with this message. Returns all of them.
    pub async fn logged(&self, message: &str, times: usize) -> Vec<Value> {
        testkit::eventually(message, async || self.api.program.log_events(message).len() >= times)
            .await;
        self.api.program.log_events(message)
    }

    pub async fn live(&self) -> i64 {
        self.database.one("SELECT count(*) FROM sessions WHERE revoked_at IS NULL").await
    }
}

/// Returns the session ids of a list, in the order of the list.
pub fn ids(listed: &Value) -> Vec<String> {
    let sessions = listed["sessions"].as_array().unwrap();
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}
