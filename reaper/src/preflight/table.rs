//! Checks the table itself: the privileges of this role, whether the role can see all rows, and
//! which triggers and rules act when a row is deleted.

use std::collections::HashMap;

use tokio_postgres::{Error, Row};

use super::finding::{Code, Finding};
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::target::name::{Ident, TableName};

/// The assumed number of rows per 8 KB page in a table that has never been analyzed. Real tables
/// have fewer rows per page, so the size of a table is overestimated rather than underestimated.
const ROWS_PER_PAGE: f32 = 60.0;

/// Estimates the number of rows in a table as the planner does: from the density of the table when
/// it was last analyzed, and from its current size.
pub(crate) fn estimated_rows(tuples: f32, pages_then: i32, pages_now: i64) -> u64 {
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    let density =
        if tuples >= 0.0 && pages_then > 0 { tuples / pages_then as f32 } else { ROWS_PER_PAGE };
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, and never negative"
    )]
    let rows = (density * pages_now as f32) as u64;
    rows
}

/// Returns the catalog entries of tables. The query requires no privilege on the tables. `$1`
/// contains the oids of the tables, `$2` the due columns, and `$3` the event of the triggers.
const TABLE: &str = include_str!("table.sql");

/// The events of triggers, as bits of `pg_trigger.tgtype`.
const DELETE: i32 = 8;
const UPDATE: i32 = 16;

/// The system columns that every delete statement uses.
const SYSTEM: [&str; 2] = ["ctid", "tableoid"];

/// A table, as the catalog describes it.
#[allow(
    clippy::struct_excessive_bools,
    reason = "the catalog has these flags, and any combination is possible"
)]
pub(super) struct Table {
    pub(super) name: TableName,
    pub(super) rows: u64,
    /// The due column of the first reason.
    due: Option<Ident>,
    /// The columns that the statements use.
    named: Vec<Ident>,
    role: Ident,
    schema_usage: bool,
    /// The columns that the role may not read.
    unreadable: Vec<String>,
    delete: bool,
    may_update: bool,
    superuser: bool,
    owner: bool,
    spare: Vec<String>,
    row_security: bool,
    restricting: Vec<String>,
    all_permitted: bool,
    triggers: Vec<String>,
    /// The triggers whose functions belong to untrusted roles.
    foreign_triggers: Vec<String>,
    /// The rules that replace the statement with another statement or with nothing.
    rules: Vec<String>,
    /// The columns that the role may not update.
    not_updatable: Vec<String>,
    /// The columns that are set; empty if the rows are deleted.
    set: Vec<Ident>,
    autovacuum: bool,
    /// For each reason, the share of the rows whose due column contains its most common value.
    pub(super) most_of_one_time: Vec<f32>,
    /// For each reason, the share of the rows whose due column is null.
    pub(super) nulls: Vec<f32>,
}

impl Table {
    /// Reads the tables that exist. `set` contains the columns that are set; it is empty if the
    /// rows are deleted.
    pub(super) async fn read(
        auxiliary: &AuxiliaryConnection,
        oids: &[u32],
        due: &[&str],
        set: &[Ident],
    ) -> Result<HashMap<u32, Self>, Error> {
        let event = if set.is_empty() { DELETE } else { UPDATE };
        let rows = auxiliary
            .rows(&TABLE.replace("{trusted}", &auxiliary.trusted()), &[&oids, &due, &event])
            .await?;
        let first = due.first().map(|name| Ident::new(*name));
        let table = |row| Self { set: set.to_vec(), ..Self::of(row, first.clone()) };
        Ok(rows.iter().map(|row| (row.get(20), table(row))).collect())
    }

    fn of(row: &Row, due: Option<Ident>) -> Self {
        let (schema, name, role): (String, String, String) = (row.get(0), row.get(1), row.get(5));
        Self {
            name: TableName { schema: Some(Ident::new(schema)), name: Ident::new(name) },
            rows: estimated_rows(row.get(2), row.get(3), row.get(4)),
            named: SYSTEM
                .into_iter()
                .chain(due.as_ref().map(Ident::as_str))
                .map(Ident::new)
                .collect(),
            due,
            role: Ident::new(role),
            schema_usage: row.get(6),
            unreadable: row.get(7),
            delete: row.get(8),
            may_update: row.get(9),
            superuser: row.get::<_, Option<bool>>(10).unwrap_or(false),
            owner: row.get(11),
            spare: row.get(12),
            row_security: row.get(13),
            restricting: row.get(14),
            all_permitted: row.get(15),
            triggers: row.get(16),
            foreign_triggers: row.get(21),
            rules: row.get(22),
            not_updatable: row.get(23),
            set: Vec::new(),
            autovacuum: row.get(17),
            most_of_one_time: row.get(18),
            nulls: row.get(19),
        }
    }

    /// Adds columns that the statements use.
    pub(super) fn also_names<'a>(&mut self, columns: impl Iterator<Item = &'a Ident>) {
        for column in columns {
            if !self.named.contains(column) {
                self.named.push(column.clone());
            }
        }
    }

    /// Returns whether this role has every privilege that the statements need.
    pub(super) fn may_be_reaped(&self) -> bool {
        self.schema_usage && self.not_readable().next().is_none() && self.may_write()
    }

    /// Returns whether this role may delete rows, or set the columns.
    fn may_write(&self) -> bool {
        let settable =
            |column: &Ident| self.not_updatable.iter().all(|name| name != column.as_str());
        self.may_update && (!self.set.is_empty() || self.delete) && self.set.iter().all(settable)
    }

    /// Returns whether a rule replaces the statement, so that its plan does not matter.
    pub(super) fn has_rule(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Returns the SQL command that processes a row.
    fn command(&self) -> &'static str {
        if self.set.is_empty() { "DELETE" } else { "UPDATE" }
    }

    /// Returns the columns that the statements use but the role may not read.
    fn not_readable(&self) -> impl Iterator<Item = &Ident> {
        self.named
            .iter()
            .filter(|name| self.unreadable.iter().any(|column| column == name.as_str()))
    }

    /// Returns the findings that follow from the table alone. `ours` is `true` if the table belongs
    /// to session-reaper, which also writes to its own tables.
    pub(super) fn judge(&self, ours: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        let (table, role) = (self.name.quoted(), self.role.quoted());
        if self.row_security && !(self.all_permitted && self.restricting.is_empty()) {
            let policy = format!("CREATE POLICY session_reaper ON {table} TO {role} USING (true)");
            let bypass = format!("ALTER ROLE {role} BYPASSRLS");
            findings.push(Finding::new(
                Code::RowSecurity,
                format!("row-level security may hide rows of {table} from {role}, and hidden rows would never be deleted"),
                if self.restricting.is_empty() {
                    format!("{policy} (or, as a superuser, {bypass})")
                } else {
                    let names = self.restricting.join(", ");
                    format!(
                        "{bypass}, as a superuser, because the restrictive policies {names} apply in addition to any other policy"
                    )
                },
            ));
        }
        if !self.rules.is_empty() {
            let (rules, command) = (self.rules.join(", "), self.command());
            let drop = self.rules.iter().map(|rule| format!("DROP RULE {rule} ON {table}"));
            findings.push(Finding::new(
                Code::DeleteRule,
                format!("rules of {table} (ON {command} DO INSTEAD) replace the {command}, so the rows would stay: {rules}"),
                format!(
                    "remove the target if the rows must stay; otherwise {}",
                    drop.collect::<Vec<_>>().join("; ")
                ),
            ));
        }
        if !self.triggers.is_empty() {
            findings.push(Finding::new(
                Code::DeleteTrigger,
                format!(
                    "triggers of {table} fire on {}: {}",
                    self.command().to_ascii_lowercase(),
                    self.triggers.join(", ")
                ),
                "verify that the triggers are fast and do not prevent the operation: they run for every row and make chunks slower. \
                 If a trigger waits, chunks time out; if a trigger keeps a row, that row stays as it is",
            ));
        }
        if !self.foreign_triggers.is_empty() {
            findings.push(Finding::new(
                Code::ForeignTrigger,
                format!(
                    "triggers of {table} call functions of roles that do not own the table: {}; these functions run with the \
                     privileges of the reaper",
                    self.foreign_triggers.join(", ")
                ),
                "change the owner of the functions to the owner of the table, or declare them SECURITY DEFINER, so that they run with \
                 the privileges of their owner",
            ));
        }
        if !self.autovacuum {
            findings.push(Finding::new(
                Code::AutovacuumOff,
                format!(
                    "autovacuum is off for {table}, so the space of deleted rows is not reclaimed"
                ),
                format!("ALTER TABLE {table} RESET (autovacuum_enabled)"),
            ));
        }
        if self.superuser {
            let what =
                format!("{role} is a superuser: it has more privileges than the reaper needs");
            findings.push(Finding::new(
                Code::SparePrivilege,
                what,
                format!("use a role of its own: {}", self.grant(true)),
            ));
        } else if self.owner {
            let what = format!(
                "{role} has the privileges of the owner of {table}, and could drop the table"
            );
            findings.push(Finding::new(
                Code::SparePrivilege,
                what,
                format!("use a role of its own: {}", self.grant(true)),
            ));
        } else if !self.spare.is_empty() && !ours {
            let spare = self.spare.join(", ");
            // If UPDATE on the table is revoked, the role needs UPDATE on a column instead.
            let whole = self.spare.iter().any(|privilege| privilege == "UPDATE");
            let update = if whole {
                format!("; GRANT {} ON {table} TO {role}", self.update())
            } else {
                String::new()
            };
            findings.push(Finding::new(
                Code::SparePrivilege,
                format!("{role} has more privileges on {table} than the reaper needs: {spare}"),
                format!("REVOKE {spare} ON {table} FROM {role}{update}"),
            ));
        }
        findings
    }

    /// Returns the finding for a statement that the server rejected with the error `message`. The
    /// statement uses this table and `others`. The finding names the privileges to grant. `reads`
    /// contains GRANT statements for the relations that the condition reads.
    pub(super) fn privilege_missing(
        &self,
        others: &[Self],
        reads: Vec<String>,
        message: &str,
    ) -> Finding {
        let grants =
            std::iter::once(self).chain(others).map(|table| table.grant(false)).chain(reads);
        let grant = grants.filter(|grant| !grant.is_empty()).collect::<Vec<_>>().join("; ");
        let remedy = if grant.is_empty() {
            // It is unknown which privilege is missing, for example because the condition reads a
            // whole row, or because a function or a policy reads other tables.
            format!(
                "grant {} the privilege to read everything that `where` reads, directly or in functions and policies",
                self.role.quoted()
            )
        } else {
            grant
        };
        Finding::new(
            Code::PrivilegeMissing,
            format!("{} lacks a privilege: {message}", self.role.quoted()),
            remedy,
        )
    }

    /// Returns GRANT statements for the missing privileges, or, if `all` is `true`, for every
    /// privilege that a reaper needs.
    fn grant(&self, all: bool) -> String {
        let mut wanted = Vec::new();
        let columns: Vec<String> = if all {
            self.named.iter().map(Ident::quoted).collect()
        } else {
            self.not_readable().map(Ident::quoted).collect()
        };
        if !columns.is_empty() {
            wanted.push(format!("SELECT ({})", columns.join(", ")));
        }
        if self.set.is_empty() && (all || !self.delete) {
            wanted.push("DELETE".to_owned());
        }
        if all || !self.may_update || !self.may_write() && !self.set.is_empty() {
            wanted.push(self.update());
        }
        let role = if all { "session_reaper".to_owned() } else { self.role.quoted() };
        let mut statements = Vec::new();
        if let Some(schema) = self.name.schema.as_ref().filter(|_| all || !self.schema_usage) {
            statements.push(format!("GRANT USAGE ON SCHEMA {} TO {role}", schema.quoted()));
        }
        if !wanted.is_empty() {
            statements.push(format!(
                "GRANT {} ON {} TO {role}",
                wanted.join(", "),
                self.name.quoted()
            ));
        }
        statements.join("; ")
    }

    /// Returns the privilege for setting the columns, or else for FOR UPDATE, which requires UPDATE
    /// on any column.
    fn update(&self) -> String {
        if !self.set.is_empty() {
            let columns: Vec<String> = self.set.iter().map(Ident::quoted).collect();
            return format!("UPDATE ({})", columns.join(", "));
        }
        let column =
            self.due.as_ref().map(|due| format!(" ({})", due.quoted())).unwrap_or_default();
        format!("UPDATE{column}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_estimated_by_density_and_current_size() {
        assert_eq!(estimated_rows(1_000.0, 10, 20), 2_000);
        assert_eq!(estimated_rows(0.0, 10, 20), 0);
        // The table was never analyzed, or it was empty at its last vacuum and was filled again
        // afterwards.
        assert_eq!(estimated_rows(-1.0, 0, 100), 6_000);
        assert_eq!(estimated_rows(0.0, 0, 100), 6_000);
        assert_eq!(estimated_rows(-1.0, 0, 0), 0);
    }
}
