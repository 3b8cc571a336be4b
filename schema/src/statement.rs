//! SQL that Diesel's DSL cannot say, as a typed statement that is prepared once a connection.
//!
//! `diesel::sql_query` is never cached (222 µs against 90 to 105 µs a statement); a
//! [`QueryFragment`] of our own is. The text stands whole in `sql/*.sql`, with each `$n` once and
//! in order, because Diesel numbers binds as it meets them.
//!
//! [`QueryFragment`]: diesel::query_builder::QueryFragment

/// Declares a statement: its doc, its file, its binds with their SQL types, and the SQL types of
/// its columns.
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

/// A query of Diesel's DSL with one bind, the id of a session, whose text is made only once. Diesel
/// makes it anew for each execution, which for a join of three tables takes about a twentieth of
/// the API's processor time for a request.
pub(crate) struct BySession<T> {
    text: &'static str,
    id: SessionId,
    columns: PhantomData<T>,
}

impl<T> BySession<T> {
    /// `query` must be the same for each call with this `text`, but for the id.
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

/// Its text identifies it.
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
    let (before, after) = text
        .split_once(&format!("${number}"))
        .ok_or_else(|| Error::QueryBuilderError(format!("no ${number} in its place").into()))?;
    out.push_sql(before);
    Ok(after)
}
