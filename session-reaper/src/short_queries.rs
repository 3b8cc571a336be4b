//! Queries outside runs, which must not take long.

use pg::connect::ConnectOptions;

/// Returns connection options for queries outside runs. With the timeouts in these options, an
/// abandoned backend ends soon, even if it waits for a lock.
#[must_use]
pub(crate) fn questions(connect: &ConnectOptions) -> ConnectOptions {
    connect.clone().set("statement_timeout", "2s").set("lock_timeout", "1s")
}
