//! The table of URLs. Each endpoint is one file. A test compares the table with the
//! [`specification`].

mod admin;
mod challenge;
mod demo;
mod docs;
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
pub mod specification;
mod tokens;

use actix_web::guard::fn_guard;
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Resource, Route};

use crate::http::Problem;
use crate::http::guard::guard;

/// Some methods of a path, and the function that adds the handler of these methods to a route.
type Endpoint = (&'static [Method], fn(Route) -> Route);

/// A path and its endpoints.
struct Path {
    template: &'static str,
    /// Whether [`guard`] checks the origin and the credentials of each request.
    guarded: bool,
    endpoints: &'static [Endpoint],
}

const POST: &[Method] = &[Method::POST];
const GET: &[Method] = &[Method::GET];
const DELETE: &[Method] = &[Method::DELETE];
/// The methods of a resource that can be read. HEAD returns the response to GET without its body.
const READ: &[Method] = &[Method::GET, Method::HEAD];

/// The API.
static API: &[Path] = &[
    guarded("/auth/challenge", &[(POST, |route| route.to(challenge::post))]),
    guarded("/auth/login", &[(POST, |route| route.to(login::post))]),
    guarded("/auth/refresh", &[(POST, |route| route.to(refresh::post))]),
    guarded("/auth/logout", &[(POST, |route| route.to(logout::post))]),
    guarded("/auth/session", &[(GET, |route| route.to(session::get))]),
    guarded(
        "/auth/sessions",
        &[
            (GET, |route| route.to(sessions::list)),
            (DELETE, |route| route.to(sessions::delete_all)),
        ],
    ),
    guarded("/auth/sessions/{id}", &[(DELETE, |route| route.to(sessions::delete_one))]),
    // Endpoints for other services, which send no cookie.
    open("/oauth/introspect", &[(POST, |route| route.to(introspect::post))]),
    open("/oauth/revoke", &[(POST, |route| route.to(revoke::post))]),
    METADATA,
    open("/.well-known/jwks.json", &[(READ, |route| route.to(jwks::get))]),
    open("/openapi.json", &[(READ, |route| route.to(specification::get))]),
];

const METADATA: Path = open(metadata::PATH, &[(READ, |route| route.to(metadata::get))]);

/// Pages for people, which are not part of the API specification.
static PAGES: &[Path] = &[
    open("/docs", &[(READ, |route| route.to(docs::index))]),
    open("/docs/", &[(READ, |route| route.to(docs::page))]),
    open("/docs/{file}", &[(READ, |route| route.to(docs::file))]),
];

/// The demo, a page that uses the API. It is served only if `DEMO=1` is set.
static DEMO: &[Path] = &[
    open("/demo", &[(READ, |route| route.to(demo::page))]),
    open("/demo/settings.json", &[(READ, |route| route.to(demo::settings))]),
    open("/demo/{file}", &[(READ, |route| route.to(demo::file))]),
];

/// The operations port.
static OPERATIONS: &[Path] = &[
    open("/livez", &[(READ, |route| route.to(ops::livez))]),
    open("/readyz", &[(READ, |route| route.to(ops::readyz))]),
    open("/metrics", &[(READ, |route| route.to(ops::metrics))]),
];

const fn guarded(template: &'static str, endpoints: &'static [Endpoint]) -> Path {
    Path { template, guarded: true, endpoints }
}

const fn open(template: &'static str, endpoints: &'static [Endpoint]) -> Path {
    Path { template, guarded: false, endpoints }
}

/// Registers the API and its pages. `issuer` is the value of `ISSUER`, whose path is part of the
/// metadata document's URL. `demo` specifies whether to serve the demo.
pub fn api(config: &mut ServiceConfig, issuer: &str, demo: bool) {
    serve(config, API);
    if let Some(path) = metadata::path_of(issuer) {
        config.service(METADATA.resource_also_at(path));
    }
    serve(config, PAGES);
    if demo {
        serve(config, DEMO);
    }
    config.default_service(web::to(not_found));
}

/// Registers the endpoints of the operations port.
pub fn operations(config: &mut ServiceConfig) {
    serve(config, OPERATIONS);
    config.default_service(web::to(not_found));
}

/// Registers the endpoints of the operators' port.
pub fn operators(config: &mut ServiceConfig) {
    admin::configure(config);
    config.default_service(web::to(not_found));
}

fn serve(config: &mut ServiceConfig, paths: &[Path]) {
    for path in paths {
        config.service(path.resource());
    }
}

impl Path {
    /// Returns the methods of this path, in the order of the table.
    fn methods(&self) -> impl Iterator<Item = &'static Method> {
        self.endpoints.iter().flat_map(|(methods, _)| *methods)
    }

    fn resource(&self) -> Resource {
        self.add_routes(web::resource(self.template))
    }

    /// Returns a resource that serves only `path`, which must begin with the template and a slash.
    /// The template is the first pattern of the resource, so that metrics use the template as the
    /// label of these requests.
    fn resource_also_at(&self, path: String) -> Resource {
        let below = format!("{}/{{below:.*}}", self.template);
        let resource = web::resource([self.template.to_owned(), below]);
        self.add_routes(resource.guard(fn_guard(move |request| request.head().uri.path() == path)))
    }

    fn add_routes(&self, mut resource: Resource) -> Resource {
        let allowed = self.methods().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let method_not_allowed = move || {
            let problem = Problem::MethodNotAllowed(allowed.clone());
            async move { Err::<HttpResponse, _>(problem) }
        };
        resource = resource.default_service(web::to(method_not_allowed));
        for (methods, handler) in self.endpoints {
            for method in *methods {
                let route = handler(web::method(method.clone()));
                resource =
                    resource.route(if self.guarded { route.wrap(from_fn(guard)) } else { route });
            }
        }
        resource
    }
}

async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::NotFound)
}
