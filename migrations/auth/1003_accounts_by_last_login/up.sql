-- If this migration is interrupted, it leaves an invalid index, and the next attempt fails with an
-- error. In this case, run DROP INDEX CONCURRENTLY accounts_last_login_at_id_idx and apply the
-- migration again.
--
-- The index is for the reaper's pass over accounts without a recent login (only if KEEP_ACCOUNTS is
-- set). A login changes last_login_at. With this index, the update of the account is no longer
-- heap-only (HOT), so a login adds another index entry besides the entries for the new session.
CREATE INDEX CONCURRENTLY accounts_last_login_at_id_idx ON accounts (last_login_at, id);
