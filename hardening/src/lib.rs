//! What auth-api and session-reaper share: the protection of their ports and command lines, and the
//! priorities of their log lines.
//!
//! - [`journal`]: priorities of log lines for the systemd journal.
//! - [`ops_hosts`]: the hosts that an operations port accepts.
//! - [`request_head`]: the size of the headers of a request.
//! - [`secret_flags`]: detection of secrets on the command line.
//! - [`security_headers`]: response headers that restrict what browsers do.

pub mod journal;
pub mod ops_hosts;
pub mod request_head;
pub mod secret_flags;
pub mod security_headers;
