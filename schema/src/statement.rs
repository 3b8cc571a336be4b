//! SQL that Diesel's DSL cannot express, as typed statements that are prepared once per connection.
//!
//! Diesel never caches the prepared statement of a `sql_query`, but it caches the prepared
//! statement of a custom [`QueryFragment`]. A statement that is not cached takes 222 µs, and a
//! cached one 90 to 105 µs.
//!
//! The text of each statement is in a file in `sql/`. The text must contain each `$n` once and in
//! ascending order, because Diesel numbers bind parameters in the order in which they are pushed.
//!
//! [`QueryFragment`]: diesel::query_builder::QueryFragment

/// Declares a statement: its documentation, its file, its bind parameters with their SQL types, and
/// the SQL types of the columns that it returns.
macro_rules! statement {
    (
        $(#[$doc:meta])*
        $name:ident($file:literal) { $($bind:ident: $ty:ty => $sql:ty),+ $(,)? } -> $row:ty
    ) => {
        $(#[$doc])*
        #[derive(diesel::query_builder::QueryId)]
        struct $name { $($bind: $ty),+ }

        impl diesel::query_builder::QueryFragment<diesel::pg::Pg> for $name {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                let mut rest = include_str!(concat!("sql/", $file));
                let mut number = 0;
                $(
                    number += 1;
                    rest = crate::statement::push_until_bind(rest, number, &mut out)?;
                    out.push_bind_param::<$sql, _>(&self.$bind)?;
                )+
                out.push_sql(rest);
                Ok(())
            }
        }

        impl diesel::query_builder::Query for $name {
            type SqlType = $row;
        }

    };
}
pub(crate) use statement;

use std::marker::PhantomData;
use std::sync::OnceLock;

use diesel::QueryResult;
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{AstPass, Query, QueryBuilder as _, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::sql_types::Uuid as SqlUuid;

use crate::ids::SessionId;

/// A Diesel query whose SQL text is generated only once. Its only bind parameter is the id of a
/// session. Diesel itself generates the text of a query for each execution. For a join of three
/// tables, this takes about 5 % of the processor time that auth-api needs for a request.
pub(crate) struct BySession<T> {
    text: &'static str,
    id: SessionId,
    columns: PhantomData<T>,
}

impl<T> BySession<T> {
    /// Creates the query. All calls with the same `text` must pass the same `query`, except for the
    /// id.
    pub(crate) fn new<Q>(
        text: &'static OnceLock<String>,
        id: SessionId,
        query: &Q,
    ) -> QueryResult<Self>
    where
        Q: Query<SqlType = T> + QueryFragment<Pg>,
    {
        let text = if let Some(text) = text.get() {
            text
        } else {
            let mut builder = PgQueryBuilder::default();
            query.to_sql(&mut builder, &Pg)?;
            text.get_or_init(|| builder.finish())
        };
        Ok(Self { text, id, columns: PhantomData })
    }
}

impl<T> QueryFragment<Pg> for BySession<T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let rest = push_until_bind(self.text, 1, &mut out)?;
        out.push_bind_param::<SqlUuid, _>(&self.id)?;
        out.push_sql(rest);
        Ok(())
    }
}

impl<T> Query for BySession<T> {
    type SqlType = T;
}

/// Without a static id, Diesel identifies the prepared statement of the query by its text.
impl<T> QueryId for BySession<T> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

/// Pushes the text before `$number` and returns the text after it.
pub(crate) fn push_until_bind<'t>(
    text: &'t str,
    number: u32,
    out: &mut AstPass<'_, '_, Pg>,
) -> Result<&'t str, Error> {
    let (before, after) = text.split_once(&format!("${number}")).ok_or_else(|| {
        Error::QueryBuilderError(format!("${number} is missing or out of order").into())
    })?;
    out.push_sql(before);
    Ok(after)
}
