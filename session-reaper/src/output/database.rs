//! The description of the database in the output of commands: the name, the host and the port,
//! without credentials.

use pg::connect::{Address, ConnectOptions};
use pg::error_text::escaped;
use serde::Serialize;

/// A JSON object with an additional last member, `database`.
#[derive(Debug, Serialize)]
pub(crate) struct WithDatabase<'a, T> {
    #[serde(flatten)]
    value: &'a T,
    database: Members,
}

/// The members of `database`. Their names are a public interface.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Members {
    name: String,
    host: String,
    port: Option<u16>,
}

impl<'a, T> WithDatabase<'a, T> {
    pub(crate) fn new(value: &'a T, connect: &ConnectOptions) -> Self {
        Self { value, database: Members::of(connect) }
    }
}

impl Members {
    pub(crate) fn of(connect: &ConnectOptions) -> Self {
        let Address { name, host, port } = connect.address();
        Self { name, host, port }
    }

    pub(crate) fn heading(&self) -> String {
        let Self { name, host, port } = self.clone();
        format!("DATABASE {}\n", escaped(&Address { name, host, port }.to_string()))
    }
}

/// Returns the first line of a text output, which names the database.
pub(crate) fn heading(connect: &ConnectOptions) -> String {
    Members::of(connect).heading()
}
