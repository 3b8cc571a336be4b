//! What protects the ports of auth-api and session-reaper alike.
//!
//! - [`ops_hosts`]: the hosts that an operations port answers to.
//! - [`request_head`]: the size of a request's head.
//! - [`security_headers`]: what every answer tells a browser.

pub mod ops_hosts;
pub mod request_head;
pub mod security_headers;
