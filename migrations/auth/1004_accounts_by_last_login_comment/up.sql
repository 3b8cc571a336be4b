-- By itself, because the index before it is made outside of a transaction, where a migration is one statement.
COMMENT ON INDEX accounts_last_login_at_id_idx IS 'Reaper: the pass over accounts without a login for long, by (last_login_at, id).';
