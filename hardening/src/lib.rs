//! What protects the ports and command lines of auth-api and session-reaper alike.
//!
//! - [`ops_hosts`]: the hosts that an operations port answers to.
//! - [`request_head`]: the size of a request's head.
//! - [`secret_flags`]: secrets that were given on the command line.
//! - [`security_headers`]: what every answer tells a browser.

pub mod ops_hosts;
pub mod request_head;
pub mod secret_flags;
pub mod security_headers;
