-- This comment needs a migration of its own: the previous migration, which creates the index, does
-- not run in a transaction and must therefore consist of a single statement.
COMMENT ON INDEX accounts_last_login_at_id_idx IS 'Reaper: the pass over accounts without a login for long, by (last_login_at, id).';
