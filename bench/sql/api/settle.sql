-- Removes dead row versions, which a look-up would have to skip, and updates the planner statistics.
VACUUM (FULL, ANALYZE) accounts;
VACUUM (FULL, ANALYZE) sessions;
VACUUM (FULL, ANALYZE) token_families;
