COMMENT ON INDEX accounts_last_login_at_id_idx IS NULL;
