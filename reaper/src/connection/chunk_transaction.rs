//! The transaction that deletes a chunk, which consists of the due rows in one range of keys.

use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio_postgres::{Client, Error, Row, SimpleQueryMessage};

use crate::connection::LockConnection;
use crate::pass::writers::Writers;
use crate::sql::query::Query;
use crate::sql::{Around, Locked};

/// The statements of a chunk.
pub(crate) struct Transaction<'q> {
    /// The statement that begins the transaction: `begin` or `begin_exclusive` of `around`.
    pub(crate) begin: &'q str,
    pub(crate) around: &'q Around,
    pub(crate) lock: Option<Query<'q>>,
    pub(crate) delete: Query<'q>,
    pub(crate) returns: Returns,
}

/// What the delete statement returns.
#[derive(Clone, Copy)]
pub(crate) enum Returns {
    /// The number of deleted rows.
    Rows,
    /// A row of counts, of the target's rows and of its children.
    Row,
}

/// The result of the delete statement.
pub(crate) enum Worked {
    Rows(u64),
    Row(Row),
}

/// A transaction that was committed.
pub(crate) struct Done {
    pub(crate) worked: Worked,
    pub(crate) locked: Option<Locked>,
    /// Whether other transactions were writing. `None` if this could not be read after the commit.
    pub(crate) writers: Option<Writers>,
    /// The time from the verification of the tables to the commit, by the clock of the server.
    /// `None` if the times could not be read, or if the clock was set back in between.
    pub(crate) at_the_server: Option<Duration>,
}

impl LockConnection {
    /// Executes a chunk as one transaction, and reads the list of other active writers immediately
    /// afterwards. All statements are sent at once and take one round trip. If any statement of the
    /// transaction fails, the whole transaction is rolled back.
    ///
    /// The server sends a response for each message, and each response wakes the client. To reduce
    /// the number of messages, all statements before the deletion are sent in one message, and all
    /// statements after it in another one.
    pub(crate) async fn transact(&mut self, chunk: &Transaction<'_>) -> Result<Done, Error> {
        let Transaction { begin, around, lock, delete, returns } = chunk;
        let verify = self.prepare_named(&around.verify).await?;
        let lock = match lock {
            Some(lock) => Some((self.prepare(&lock.text).await?, &lock.params)),
            None => None,
        };
        let (work, params) = (self.prepare(&delete.text).await?, &delete.params);
        let after = match &around.verify_after {
            Some(after) => Some(self.prepare(after).await?),
            None => None,
        };
        let (begin, client) = (format!("{begin}; EXECUTE {verify}"), &self.client);
        // Each message is sent when its future is first polled. The futures are first polled in
        // this order.
        let all = async {
            tokio::join!(
                biased;
                client.simple_query(&begin),
                async {
                    match &lock {
                        Some((lock, params)) => client.query_one(lock, params).await.map(Some),
                        None => Ok(None),
                    }
                },
                async {
                    match returns {
                        Returns::Rows => client.execute(&work, params).await.map(Worked::Rows),
                        Returns::Row => client.query_one(&work, params).await.map(Worked::Row),
                    }
                },
                async {
                    match &after {
                        Some(after) => client.query_one(after, &[]).await.map(Some),
                        None => Ok(None),
                    }
                },
                commit(client),
                client.simple_query(Writers::SNAPSHOT),
            )
        };
        let (first, locked, worked, verified, committed, snapshot) =
            // Boxed because the statements of a chunk make this future large.
            Box::pin(self.deadline.with(8, all)).await;
        // The first statement that failed is the cause of the later failures.
        let first = first?;
        let locked = locked?.as_ref().map(Locked::of).transpose();
        let worked = worked?;
        verified?;
        let last = committed?;
        let at_the_server = time(&first)
            .zip(time(&last))
            .and_then(|(start, end)| end.checked_sub(start))
            .map(Duration::from_micros);
        let writers = snapshot.ok().and_then(|snapshot| Writers::of(&last, &snapshot));
        Ok(Done { worked, locked: locked?, writers, at_the_server })
    }
}

/// Commits, and then assigns an ID to another transaction (see [`crate::pass::writers`]). If the
/// commit succeeds and the rest fails, the result contains the messages up to the failure.
async fn commit(client: &Client) -> Result<Vec<SimpleQueryMessage>, Error> {
    let sql = format!("COMMIT; {}", Writers::number());
    let mut responses = pin!(client.simple_query_raw(&sql).await?);
    let mut messages = Vec::new();
    loop {
        match responses.try_next().await {
            Ok(Some(message)) => messages.push(message),
            Err(error) if messages.is_empty() => return Err(error),
            Ok(None) | Err(_) => return Ok(messages),
        }
    }
}

/// Returns the time that the second column of the first row contains, in microseconds.
fn time(messages: &[SimpleQueryMessage]) -> Option<u64> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(1)?.parse().ok(),
        _ => None,
    })
}
