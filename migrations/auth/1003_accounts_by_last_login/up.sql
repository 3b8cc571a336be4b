-- If this is cut short it leaves an invalid index behind, and says so when it is tried again:
-- DROP INDEX CONCURRENTLY accounts_last_login_at_id_idx; then once more.
--
-- For the reaper's pass over accounts that nobody logs in to any more (off unless KEEP_ACCOUNTS is given). A login changes
-- last_login_at and so is no HOT update of its account any more: one index entry more beside those of the session that it makes.
CREATE INDEX CONCURRENTLY accounts_last_login_at_id_idx ON accounts (last_login_at, id);
