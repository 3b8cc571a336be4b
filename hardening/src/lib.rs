//! Code that auth-api and session-reaper share: the protection of their ports and command lines,
//! the priorities of their log lines, and the revision from which they were built.
//!
//! - [`journal`]: priorities of log lines for the systemd journal.
//! - [`ops_hosts`]: the hosts that an operations port accepts.
//! - [`request_head`]: the size of the headers of a request.
//! - [`revision`]: the revision of the source, which metrics contain.
//! - [`secret_flags`]: detection of secrets on the command line.
//! - [`security_headers`]: response headers that restrict what browsers do.

pub mod journal;
pub mod ops_hosts;
pub mod request_head;
pub mod revision;
pub mod secret_flags;
pub mod security_headers;
