//! Who is at the other end of a request, as far as one can see.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::USER_AGENT;

/// Where a request comes from.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// Its address.
    pub ip: Option<IpAddr>,
    /// What it calls itself.
    pub user_agent: Option<String>,
}

/// A user agent is a header of the client's making: what a page can show of it is enough.
const USER_AGENT_LENGTH: usize = 256;

impl Client {
    /// Of this request.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
        Self {
            user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_LENGTH).collect()),
            ip: request.peer_addr().map(|address| address.ip()),
        }
    }
}
