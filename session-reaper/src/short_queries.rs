//! Connection options for queries outside runs, which must not take long.

use pg::connect::ConnectOptions;

/// Returns connection options with short timeouts. Because of the timeouts, the server process of
/// an abandoned query ends soon, even if it waits for a lock.
#[must_use]
pub(crate) fn questions(connect: &ConnectOptions) -> ConnectOptions {
    connect.clone().set("statement_timeout", "2s").set("lock_timeout", "1s")
}
