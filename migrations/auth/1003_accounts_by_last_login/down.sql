DROP INDEX CONCURRENTLY IF EXISTS accounts_last_login_at_id_idx;
