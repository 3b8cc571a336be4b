//! The share of a table (the fraction of its rows) that would be deleted.

use tokio_postgres::Error;

use crate::connection::auxiliary::AuxiliaryConnection;
use crate::pass::scan_order;
use crate::preflight::estimated_rows;
use crate::sql::PassSql;

/// The number of blocks in the sample, which is 16 MB. If nine tenths of the rows are due, the
/// standard deviation of the measured share is below one hundredth.
const BLOCKS: f64 = 2_000.0;

/// The number of rows in one or more tables, and how many of them would be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct TableShare {
    pub(crate) rows: f64,
    pub(crate) due: f64,
    /// Whether only a sample of the blocks was read.
    pub(crate) sampled: bool,
}

impl TableShare {
    /// Reads all blocks of a small table and a sample of a large one. Statistics are not used,
    /// because they may be outdated.
    pub(crate) async fn of(
        auxiliary: &AuxiliaryConnection,
        tables: &[&[PassSql]],
    ) -> Result<Self, Error> {
        let mut table_share = Self::default();
        // The pass of the last reason includes the conditions of all reasons.
        let passes: Vec<&PassSql> = tables.iter().filter_map(|passes| passes.last()).collect();
        for pass in passes {
            let blocks =
                auxiliary.deadline.with(1, scan_order::blocks(&auxiliary.client, pass.oid)).await?;
            #[allow(clippy::cast_precision_loss, reason = "blocks stay far below 2^53")]
            let percent = (BLOCKS / (blocks.max(1) as f64) * 100.0).min(100.0);
            let pass = pass.written();
            let row = auxiliary.of_target(&pass.sample(percent)).await?;
            // An unknown value counts as if the whole table were due.
            let scaled = |column| {
                row.as_ref().and_then(|row| row.number(column)).unwrap_or(f64::MAX / 1e6) * 100.0
                    / percent
            };
            table_share.rows += scaled(0);
            table_share.due += scaled(1);
            table_share.sampled |= percent < 100.0;
        }
        Ok(table_share)
    }

    /// Estimates the number of rows in tables from their statistics and sizes, without reading
    /// them.
    pub(crate) async fn estimated_rows(
        auxiliary: &AuxiliaryConnection,
        oids: &[u32],
    ) -> Result<f64, Error> {
        const SIZES: &str = "SELECT c.reltuples, c.relpages,
                coalesce(pg_catalog.pg_relation_size(c.oid), 0)
                    OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::pg_catalog.int8
            FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1)";
        let mut rows = 0;
        for row in auxiliary.rows(SIZES, &[&oids]).await? {
            rows += estimated_rows(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        }
        #[allow(clippy::cast_precision_loss, reason = "an estimate")]
        let rows = rows as f64;
        Ok(rows)
    }

    /// Returns the share of due rows, from 0 to 1. It is 0 for an empty table.
    pub(crate) fn fraction(&self) -> f64 {
        if self.rows > 0.0 { self.due / self.rows } else { 0.0 }
    }
}
