//! Checks a target: first the catalog entries of all of its tables at once, then the plans of the
//! statements, for each table and each reason.

use std::collections::HashMap;

use pg::error_text::chain;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::finding::{Code, Finding};
use super::indexes::{self, Index};
use super::pass::Walk;
use super::plans::{ChunkLimits, Judge};
use super::table::Table;
use super::{Examined, Rules, Subject, cascades, condition, references};
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::connection::db_error::DbError;
use crate::run::tables::IS_THERE;
use crate::sql::PassSql;
use crate::target::Absent;
use crate::target::catalog::{Child, Leaf};
use crate::target::condition::ResolvedCondition;
use crate::target::name::{Ident, TableName};

/// The catalog data of a target, which is read before its passes are checked.
struct Known {
    tables: HashMap<u32, Table>,
    indexes: HashMap<u32, Vec<Index>>,
    /// The child tables, whose rows are deleted first, and, for a target with groups, the whole
    /// table, if the target's rows are in its partitions.
    others: Vec<Table>,
}

impl Subject<'_> {
    pub(super) async fn examine(
        &self,
        auxiliary: &AuxiliaryConnection,
        rules: Rules,
    ) -> Result<Examined, Error> {
        let oids: Vec<u32> = self.leaves.iter().map(|(leaf, _)| leaf.oid).collect();
        let due: Vec<&str> =
            self.target.reasons.iter().map(|reason| reason.column.as_str()).collect();
        let mut findings: Vec<Finding> =
            self.conditions.iter().flat_map(condition::judge).collect();
        if findings.iter().any(Finding::is_unsafe) && !rules.force_unsafe {
            // Do not plan any statement, because planning may call functions in the condition.
            return Ok(Examined { findings, chunk_limits: ChunkLimits::new() });
        }
        let set: Vec<Ident> = self.target.set.iter().map(|set| set.column.clone()).collect();
        let mut tables = Table::read(auxiliary, &oids, &due, &set).await?;
        for (leaf, passes) in self.leaves {
            if let Some(table) = tables.get_mut(&leaf.oid) {
                let due = self.target.reasons.iter().map(|reason| &reason.column);
                let key = leaf.key.iter().map(|column| &column.name);
                let children =
                    passes.iter().flat_map(|pass| &pass.children).flat_map(Child::refers_to);
                table.also_names(due.chain(key).chain(children).chain(&set));
                self.names_of_condition(table);
            }
        }
        let known = Known {
            tables,
            indexes: indexes::read(auxiliary, &oids).await?,
            others: self.others(auxiliary, &oids, &due, &mut findings).await?,
        };
        let mut judge = Judge::new(auxiliary);
        let mut planned = false;
        for (leaf, passes) in self.leaves {
            // Skip a partition that was dropped in the meantime.
            let Some(table) = known.tables.get(&leaf.oid) else { continue };
            // The plans of the condition need not be checked for every small partition.
            let by_catalog = planned && table.rows <= rules.max_scan_rows && table.may_be_reaped();
            planned = true;
            match self
                .leaf(auxiliary, (leaf, passes, table), &known, rules, by_catalog, &mut judge)
                .await
            {
                Ok(found) => findings.extend(found),
                Err(error)
                    if leaf.oid != self.oid && matches!(DbError::of(&error), DbError::Gone(_)) => {}
                Err(error) => return Err(error),
            }
        }
        findings.extend(judge.findings);
        Ok(Examined { findings, chunk_limits: judge.chunk_limits })
    }

    async fn leaf(
        &self,
        auxiliary: &AuxiliaryConnection,
        (leaf, passes, table): (&Leaf, &[PassSql], &Table),
        known: &Known,
        rules: Rules,
        by_catalog: bool,
        judge: &mut Judge<'_>,
    ) -> Result<Vec<Finding>, Error> {
        let indexes = known.indexes.get(&leaf.oid).map(Vec::as_slice).unwrap_or_default();
        // session-reaper also writes to its own history, so it needs more privileges on the history
        // than on other tables.
        let ours = matches!(self.target.absent, Absent::LeftOut);
        let mut findings = table.judge(ours);
        if table.has_rule() {
            return Ok(findings);
        }
        if let Some(group) = &self.target.group {
            let why = "by which the other rows of a group are looked up: each lookup would scan the table";
            findings.extend(indexes::look_up(
                Code::GroupNotIndexed,
                &table.name,
                &[group],
                indexes,
                why,
            ));
        }
        for (number, pass) in passes.iter().enumerate() {
            let walk = Walk { subject: self, table, indexes, number, pass, rules };
            let examined = if by_catalog && walk.has_whole_index() {
                walk.ancient(auxiliary).await.map(|found| found.into_iter().collect())
            } else {
                walk.examine(auxiliary, judge).await
            };
            let Err(error) = examined.map(|found| findings.extend(found)) else { continue };
            match (error.code(), &pass.only) {
                (Some(&SqlState::INSUFFICIENT_PRIVILEGE), _) => {
                    let mut reads = Vec::new();
                    for condition in self.conditions {
                        reads.extend(condition::grants(auxiliary, condition).await?);
                    }
                    findings.push(table.privilege_missing(&known.others, reads, &chain(&error)));
                    break;
                }
                (Some(_), Some(_)) if self.refuses(auxiliary, leaf, &error).await? => {
                    let what = format!("`where` or `group` cannot be used: {}", chain(&error));
                    findings.push(Finding::plain(Code::ConditionRefused, what));
                    break;
                }
                _ => return Err(error),
            }
        }
        if leaf.key.is_empty() {
            let name = table.name.quoted();
            findings.push(Finding::new(
                Code::NoKey,
                format!(
                    "{name} has no usable unique key without nulls: rows with the same time cannot be ordered, and rows are always locked before they are deleted"
                ),
                format!("ALTER TABLE {name} ADD PRIMARY KEY (…), if the application allows it"),
            ));
        }
        Ok(findings)
    }

    /// Returns `true` if the server rejects the condition, for example because an object in it is
    /// missing. Returns `false` if the error concerns the table itself.
    async fn refuses(
        &self,
        auxiliary: &AuxiliaryConnection,
        leaf: &Leaf,
        error: &Error,
    ) -> Result<bool, Error> {
        Ok(match DbError::of(error) {
            DbError::Other(_) | DbError::Rejected(_) => true,
            DbError::Gone(_) => auxiliary.row(IS_THERE, &[&leaf.oid]).await?.is_some(),
            _ => false,
        })
    }

    /// Adds the columns that the statements name because of `where` or `group`.
    fn names_of_condition(&self, table: &mut Table) {
        let read = self.conditions.iter().flat_map(ResolvedCondition::columns);
        let read = read.filter(|(oid, _)| *oid == self.oid).map(|(_, column)| column);
        // The statements also name `xmax`, which contains the transaction that has locked a row.
        let locked = (!self.conditions.is_empty() || self.target.group.is_some())
            .then(|| Ident::new("xmax"));
        table.also_names(read.chain(&self.target.group).chain(&locked));
    }

    /// Returns the other tables that the statements use: the target's `children`, and the table of
    /// a group.
    async fn others(
        &self,
        auxiliary: &AuxiliaryConnection,
        oids: &[u32],
        due: &[&str],
        findings: &mut Vec<Finding>,
    ) -> Result<Vec<Table>, Error> {
        let mut others = self.children(auxiliary, oids, findings).await?;
        if self.target.group.is_some() && !oids.contains(&self.oid) {
            let mut root = Table::read(auxiliary, &[self.oid], due, &[]).await?;
            others.extend(root.remove(&self.oid).map(|mut root| {
                root.also_names(self.target.reasons.iter().map(|reason| &reason.column));
                self.names_of_condition(&mut root);
                root
            }));
        }
        Ok(others)
    }

    /// Checks the target's `children` (tables whose rows are deleted first), and the foreign keys
    /// that refer to the tables. Returns the child tables.
    async fn children(
        &self,
        auxiliary: &AuxiliaryConnection,
        oids: &[u32],
        findings: &mut Vec<Finding>,
    ) -> Result<Vec<Table>, Error> {
        if !self.target.set.is_empty() {
            // No row is deleted, so foreign keys and cascades do not matter.
            return Ok(Vec::new());
        }
        let passes = self.leaves.iter().flat_map(|(_, passes)| passes);
        let first = passes.map(|pass| pass.children.as_slice()).next().unwrap_or_default();
        let named: Vec<TableName> = first.iter().map(|child| child.table.clone()).collect();
        let mut reached = oids.to_vec();
        reached.push(self.oid);
        findings.extend(references::examine(auxiliary, &reached, &named).await?);
        let from: Vec<u32> =
            reached.iter().copied().chain(first.iter().map(|child| child.oid)).collect();
        findings.extend(cascades::back_to_itself(auxiliary, self.target, &from, &reached).await?);
        let mut children = Vec::new();
        for child in first {
            let oid = child.oid;
            let columns: Vec<&Ident> = child.columns().collect();
            let due: Vec<&str> = child.columns().map(Ident::as_str).collect();
            let Some(mut table) = Table::read(auxiliary, &[oid], &due, &[]).await?.remove(&oid)
            else {
                continue;
            };
            table.also_names(child.columns());
            findings.extend(table.judge(false));
            findings.extend(references::examine(auxiliary, &[oid], &[]).await?);
            let why = "by which the rows to delete first are looked up: each lookup would scan that table";
            let indexes = indexes::read(auxiliary, &[oid]).await?.remove(&oid).unwrap_or_default();
            let finding =
                indexes::look_up(Code::ChildNotIndexed, &table.name, &columns, &indexes, why);
            // Omit the finding if a finding on a foreign key has the same remedy.
            findings.extend(
                finding.filter(|new| findings.iter().all(|found| found.remedy != new.remedy)),
            );
            children.push(table);
        }
        Ok(children)
    }
}
