//! A service that accepts access tokens from auth-api. `GET /public` requires no token, `GET /me`
//! requires a valid access token, and `DELETE /danger` also checks that the session of the token
//! has not been revoked.
//!
//! ```text
//! AUTH_URL=https://auth.example.com BIND=127.0.0.1:8000 cargo run --example resource-server --features actix,redis
//! ```
//!
//! Set `ISSUER` and `AUDIENCE` to the same values as in auth-api, unless auth-api uses its
//! `PUBLIC_URL` for both. `/danger` requires `CLIENT_ID` and `CLIENT_SECRET` (created by `auth-api
//! clients add`). If `REDIS_URL` and `REDIS_PREFIX` are set, `/danger` checks auth-api's denylist
//! in Redis before it sends a request to auth-api.

use std::env;

use actix_web::{App, HttpResponse, HttpServer, Responder, delete, get, web};
use anyhow::Context as _;
use auth_client::{AccessToken, AuthClient, Denylist, Session};
use serde_json::json;

#[get("/public")]
async fn public() -> impl Responder {
    "Hello!"
}

#[get("/me")]
async fn me(caller: AccessToken) -> impl Responder {
    HttpResponse::Ok().json(json!({ "account": caller.account_id, "wallet": caller.wallet }))
}

#[delete("/danger")]
async fn danger(Session(caller): Session) -> impl Responder {
    tracing::info!(event = "data_deleted", account_id = %caller.account_id, "data deleted");
    HttpResponse::NoContent()
}

fn client() -> anyhow::Result<AuthClient> {
    let url = env::var("AUTH_URL")
        .context("AUTH_URL: the URL of auth-api, such as https://auth.example.com")?;
    let mut client = AuthClient::builder(&url);
    if let Ok(issuer) = env::var("ISSUER") {
        client = client.issuer(issuer);
    }
    if let Ok(audience) = env::var("AUDIENCE") {
        client = client.audience(audience);
    }
    if let (Ok(id), Ok(secret)) = (env::var("CLIENT_ID"), env::var("CLIENT_SECRET")) {
        client = client.credentials(id, secret);
    }
    if let (Ok(url), Ok(prefix)) = (env::var("REDIS_URL"), env::var("REDIS_PREFIX")) {
        client = client.sessions(Denylist::new(&url, &prefix)?);
    }
    Ok(client.build()?)
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).init();
    let client = web::Data::new(client()?);
    let bind = env::var("BIND").unwrap_or_else(|_| "127.0.0.1:8000".to_owned());
    let server = HttpServer::new(move || {
        App::new().app_data(client.clone()).service(public).service(me).service(danger)
    })
    .bind(&bind)
    .with_context(|| format!("BIND={bind}"))?;
    tracing::info!(event = "listening", address = %server.addrs()[0], "listening");
    Ok(server.run().await?)
}
