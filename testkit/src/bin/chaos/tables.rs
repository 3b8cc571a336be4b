//! The tables of a round, the triggers that record changes to them, and their initial rows.

use std::fmt::Write as _;

use fastrand::Rng;
use tokio_postgres::Client;

use crate::Result;
use crate::plan::{Reference, Tables};

/// The replication slot from which the history is decoded.
pub(crate) const SLOT: &str = "chaos";

/// Creates the tables and triggers that record operations and deletes.
///
/// A `STABLE` function reads the snapshot of the deleting statement, because queries in a
/// `VOLATILE` function have their own snapshot. A `STABLE` function cannot insert rows, so it
/// stores the snapshot in a transaction-local setting. The next trigger on the same row reads this
/// setting. Triggers of the same kind fire in the order of their names.
const RECORDS: &str = "
CREATE SCHEMA chaos;
CREATE TABLE chaos.ops (
    seq bigint GENERATED ALWAYS AS IDENTITY, xid text NOT NULL DEFAULT pg_current_xact_id()::text, kind text NOT NULL,
    touched bigint[] NOT NULL, at float8 NOT NULL DEFAULT extract(epoch FROM clock_timestamp()));
CREATE TABLE chaos.deletes (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, xid text NOT NULL DEFAULT pg_current_xact_id()::text,
    run int NOT NULL, pid int NOT NULL DEFAULT pg_backend_pid(),
    at float8 NOT NULL DEFAULT extract(epoch FROM clock_timestamp()),
    relation oid NOT NULL, roots oid[] NOT NULL, locks oid[] NOT NULL, snapshot text NOT NULL, kind text NOT NULL,
    old jsonb NOT NULL);
CREATE FUNCTION chaos.keep_snapshot() RETURNS trigger LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('chaos.snapshot', pg_current_snapshot()::text, true);
    RETURN NULL;
END $$;
CREATE FUNCTION chaos.log_delete() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    run text := current_setting('chaos.run', true);
BEGIN
    IF run IS NULL OR run = '' THEN RETURN NULL; END IF;
    INSERT INTO chaos.deletes (run, relation, roots, locks, snapshot, kind, old) SELECT run::int, TG_RELID,
        ARRAY (WITH RECURSIVE up AS (
            SELECT TG_RELID AS oid UNION SELECT i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.oid)
            SELECT oid FROM up),
        ARRAY (SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()),
        current_setting('chaos.snapshot'), TG_ARGV[0], to_jsonb(OLD);
    RETURN NULL;
END $$;
CREATE FUNCTION chaos.let_go() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;
CREATE FUNCTION chaos.record(tbl regclass, kind text, before boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', tbl);
    EXECUTE format('CREATE TRIGGER chaos_1 AFTER DELETE ON %s FOR EACH ROW EXECUTE FUNCTION chaos.keep_snapshot()', tbl);
    EXECUTE format('CREATE TRIGGER chaos_2 AFTER DELETE ON %s FOR EACH ROW EXECUTE FUNCTION chaos.log_delete(%L)', tbl, kind);
    IF before THEN
        EXECUTE format('CREATE TRIGGER chaos_0 BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION chaos.let_go()', tbl);
    END IF;
END $$;
-- Slows a statement down, so that more concurrent operations happen while it runs.
CREATE FUNCTION chaos.ponder(uid bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(0.0004);
    RETURN true;
END $$;";

impl Reference {
    fn clause(self) -> &'static str {
        match self {
            Self::Cascade => "REFERENCES app.t ON DELETE CASCADE",
            Self::NoAction => "REFERENCES app.t",
            Self::Locked => "",
        }
    }
}

impl Tables {
    /// Creates the tables. The slot is created first, so that the history is complete.
    pub(crate) async fn create(&self, client: &Client) -> Result {
        client
            .execute("SELECT pg_create_logical_replication_slot($1, 'test_decoding')", &[&SLOT])
            .await?;
        client.batch_execute(RECORDS).await?;
        let (kind, at) = if self.millis {
            (
                "bigint",
                "(extract(epoch FROM clock_timestamp() + make_interval(secs => offset_s)) * 1000)::bigint",
            )
        } else {
            ("timestamptz", "clock_timestamp() + make_interval(secs => offset_s)")
        };
        client
            .batch_execute(&format!(
                "CREATE FUNCTION chaos.at(offset_s float8) RETURNS {kind} LANGUAGE sql AS $$ SELECT {at} $$;
                 CREATE SCHEMA app;
                 GRANT USAGE ON SCHEMA app, chaos TO session_reaper;"
            ))
            .await?;
        self.target(client, "app.t").await?;
        self.orders(client, "app.orders").await?;
        self.child(client, "app.child").await?;
        Ok(())
    }

    /// Creates a table of orders with this name, if the plan has orders.
    pub(crate) async fn orders(&self, client: &Client, name: &str) -> Result {
        let Some(reference) = self.orders else { return Ok(()) };
        let references = reference.clause();
        client
            .batch_execute(&format!(
                "CREATE TABLE {name} (id bigint PRIMARY KEY, account bigint NOT NULL {references}, open boolean NOT NULL);
                 CREATE INDEX ON {name} (account);
                 SELECT chaos.record('{name}', 'order', false);
                 GRANT SELECT ON {name} TO session_reaper"
            ))
            .await?;
        Ok(())
    }

    /// Creates a table of children with this name, if the plan has children.
    pub(crate) async fn child(&self, client: &Client, name: &str) -> Result {
        let Some(reference) = self.child else { return Ok(()) };
        let references = reference.clause();
        client
            .batch_execute(&format!(
                "CREATE TABLE {name} (id bigint PRIMARY KEY, parent bigint NOT NULL {references});
                 CREATE INDEX ON {name} (parent);
                 SELECT chaos.record('{name}', 'child', false);
                 GRANT SELECT, UPDATE, DELETE ON {name} TO session_reaper"
            ))
            .await?;
        Ok(())
    }

    /// Creates a table with the same columns as the target.
    pub(crate) async fn target(&self, client: &Client, name: &str) -> Result {
        let due = if self.millis { "bigint" } else { "timestamptz" };
        let key = if self.key { ", PRIMARY KEY (uid)" } else { "" };
        let tie = if self.key { ", uid" } else { "" };
        let partitioned = if self.partitions > 0 { "PARTITION BY HASH (uid)" } else { "" };
        let mut sql = format!(
            "CREATE TABLE {name} (uid bigint NOT NULL, grp bigint, due_at {due}, revoked_at {due},
                 pinned boolean NOT NULL DEFAULT false, note int NOT NULL DEFAULT 0{key}) {partitioned};
             CREATE INDEX ON {name} (due_at{tie}); CREATE INDEX ON {name} (revoked_at{tie}); CREATE INDEX ON {name} (grp);
             GRANT SELECT, UPDATE, DELETE ON {name} TO session_reaper;"
        );
        if !self.key {
            let _ = write!(sql, "CREATE INDEX ON {name} (uid);");
        }
        let leaves: Vec<String> = match self.partitions {
            0 => vec![name.to_owned()],
            many => (0..many).map(|n| format!("{name}_p{n}")).collect(),
        };
        for (n, leaf) in leaves.iter().enumerate() {
            if self.partitions > 0 {
                let _ = write!(
                    sql,
                    "CREATE TABLE {leaf} PARTITION OF {name} FOR VALUES WITH (MODULUS {}, REMAINDER {n});
                     GRANT SELECT, UPDATE, DELETE ON {leaf} TO session_reaper;",
                    self.partitions
                );
            }
            let _ = write!(sql, "SELECT chaos.record('{leaf}', 'row', {});", self.before_trigger);
        }
        client.batch_execute(&sql).await?;
        Ok(())
    }

    /// Returns the statements that replace the due column of the target. According to the new
    /// column, rows with an even `uid` are live.
    pub(crate) fn replace_due_column(&self, place: usize) -> String {
        let due = if self.millis { "bigint" } else { "timestamptz" };
        let tie = if self.key { ", uid" } else { "" };
        format!(
            "ALTER TABLE app.t RENAME due_at TO due_was{place};
             ALTER TABLE app.t ADD due_at {due};
             UPDATE app.t SET due_at = CASE WHEN uid % 2 = 0 THEN chaos.at(86400) ELSE due_was{place} END;
             CREATE INDEX ON app.t (due_at{tie})"
        )
    }

    /// Inserts a group of due rows with these `uid`s into the target.
    pub(crate) async fn large_group(&self, client: &Client, uids: std::ops::Range<i64>) -> Result {
        let sql = "INSERT INTO app.t (uid, grp, due_at)
            SELECT uid, $1, chaos.at(-5 * 86400) FROM generate_series($1::bigint, $2::bigint) AS uid";
        client.execute(sql, &[&uids.start, &(uids.end - 1)]).await?;
        Ok(())
    }

    /// Inserts rows with these `uid`s into a table with the same columns as the target. Most of
    /// them are due, in groups of a few rows.
    pub(crate) async fn fill(
        &self,
        client: &Client,
        name: &str,
        uids: std::ops::Range<i64>,
        rng: &mut Rng,
    ) -> Result {
        let first = uids.start;
        let (mut all, mut groups, mut due, mut revoked, mut pinned) =
            (vec![], vec![], vec![], vec![], vec![]);
        let mut group = first;
        let live_group = |rng: &mut Rng| rng.u8(..6) == 0;
        let mut live = live_group(rng);
        for uid in uids {
            if rng.u8(..5) < 2 {
                (group, live) = (uid, live_group(rng));
            }
            all.push(uid);
            groups.push(group);
            let is_live = live && rng.bool();
            due.push((rng.u8(..20) > 0).then(|| offset(rng, is_live)));
            revoked.push((!is_live && rng.u8(..3) == 0).then(|| offset(rng, false)));
            pinned.push(rng.u8(..20) == 0);
        }
        let sql = format!(
            "INSERT INTO {name} (uid, grp, due_at, revoked_at, pinned)
             SELECT uid, grp, chaos.at(due), chaos.at(revoked), pinned
             FROM unnest($1::bigint[], $2::bigint[], $3::float8[], $4::float8[], $5::boolean[])
                 AS r (uid, grp, due, revoked, pinned)"
        );
        client.execute(&sql, &[&all, &groups, &due, &revoked, &pinned]).await?;
        if name == "app.t" && self.child.is_some() {
            let sql = "INSERT INTO app.child SELECT uid * 10 + n, uid FROM app.t, generate_series(1, 3) AS n WHERE uid % 3 = 0";
            client.execute(sql, &[]).await?;
        }
        client.batch_execute(&format!("ANALYZE {name}")).await?;
        Ok(())
    }
}

/// Returns a random due time, as an offset from now in seconds. If `live` is `false`, the row is
/// due with any retention. If `live` is `true`, the time may be past but within the retention, and
/// the row may become due during the round.
pub(crate) fn offset(rng: &mut Rng, live: bool) -> f64 {
    const DAY: f64 = 86_400.0;
    match (live, rng.u8(..10)) {
        (false, _) => -DAY * (4.0 + 6.0 * rng.f64()),
        (true, 0) => -DAY * f64::from(rng.u8(1..=3)) + 4.0 * rng.f64(),
        (true, 1..=3) => -DAY * (0.1 + 0.8 * rng.f64()),
        (true, _) => DAY * (1.0 + rng.f64()),
    }
}
