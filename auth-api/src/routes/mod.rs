//! The URL table; each endpoint is one file.

mod admin;
mod challenge;
mod introspect;
mod jwks;
mod login;
mod logout;
mod metadata;
pub mod ops;
mod refresh;
mod revoke;
mod session;
mod sessions;
mod tokens;

use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Resource, Route};

use crate::http::Problem;
use crate::http::guard::guard;

/// The API.
pub fn api(config: &mut ServiceConfig) {
    const POST: (&str, fn() -> Route) = ("POST", web::post);
    const GET: (&str, fn() -> Route) = ("GET", web::get);
    const DELETE: (&str, fn() -> Route) = ("DELETE", web::delete);
    let mut at = |path: &str, (method, route): (&'static str, fn() -> Route), handler: fn(Route) -> Route| {
        let other = move || async move { Err::<HttpResponse, _>(Problem::MethodNotAllowed(method)) };
        let resource = web::resource(path).route(handler(route())).default_service(web::to(other));
        config.service(resource.wrap(from_fn(guard)));
    };
    at("/auth/challenge", POST, |route| route.to(challenge::post));
    at("/auth/login", POST, |route| route.to(login::post));
    at("/auth/refresh", POST, |route| route.to(refresh::post));
    at("/auth/logout", POST, |route| route.to(logout::post));
    at("/auth/session", GET, |route| route.to(session::get));
    at("/auth/sessions/{id}", DELETE, |route| route.to(sessions::delete_one));
    let other = || async { Err::<HttpResponse, _>(Problem::MethodNotAllowed("GET, DELETE")) };
    let sessions = web::resource("/auth/sessions").route(web::get().to(sessions::list));
    let sessions = sessions.route(web::delete().to(sessions::delete_all)).default_service(web::to(other));
    config.service(sessions.wrap(from_fn(guard)));
    config.service(for_services("/oauth/introspect", |route| route.to(introspect::post)));
    config.service(for_services("/oauth/revoke", |route| route.to(revoke::post)));
    config.service(readable("/.well-known/oauth-authorization-server", |route| route.to(metadata::get)));
    config.service(readable("/.well-known/jwks.json", |route| route.to(jwks::get)));
    config.default_service(web::to(not_found));
}

/// The operations port; `admin`: whether there are operators.
pub fn operations(config: &mut ServiceConfig, admin: bool) {
    if admin {
        admin::configure(config);
    }
    config
        .service(readable("/livez", |route| route.to(ops::livez)))
        .service(readable("/readyz", |route| route.to(ops::readyz)))
        .service(readable("/metrics", |route| route.to(ops::metrics)))
        .default_service(web::to(not_found));
}

/// For other services, which send no cookies.
fn for_services(path: &str, handler: fn(Route) -> Route) -> Resource {
    let other = || async { Err::<HttpResponse, _>(Problem::MethodNotAllowed("POST")) };
    web::resource(path).route(handler(web::post())).default_service(web::to(other))
}

/// What is read may be asked for without its body, too.
fn readable(path: &str, handler: fn(Route) -> Route) -> Resource {
    let other = || async { Err::<HttpResponse, _>(Problem::MethodNotAllowed("GET, HEAD")) };
    let resource = web::resource(path).route(handler(web::get())).route(handler(web::head()));
    resource.default_service(web::to(other))
}

async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::NotFound)
}
