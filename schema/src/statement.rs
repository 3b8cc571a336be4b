//! SQL that Diesel's DSL cannot say, as a typed statement that is prepared once a connection.
//!
//! `diesel::sql_query` is never cached (222 µs against 90 to 105 µs a statement); a [`QueryFragment`] of our own is.
//! The text stands whole in `sql/*.sql`, with each `$n` once and in order, because Diesel numbers binds as it meets them.
//!
//! [`QueryFragment`]: diesel::query_builder::QueryFragment

/// Declares a statement: its doc, its file, its binds with their SQL types, and the SQL types of its columns.
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

use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use diesel::result::Error;

/// Pushes the text before `$number` and returns the text after it.
pub(crate) fn push_until_bind<'t>(text: &'t str, number: u32, out: &mut AstPass<'_, '_, Pg>) -> Result<&'t str, Error> {
    let (before, after) = text
        .split_once(&format!("${number}"))
        .ok_or_else(|| Error::QueryBuilderError(format!("no ${number} in its place").into()))?;
    out.push_sql(before);
    Ok(after)
}
