-- No row has a version before it that a look-up would have to step over, and the planner knows the tables.
VACUUM (FULL, ANALYZE) accounts;
VACUUM (FULL, ANALYZE) sessions;
VACUUM (FULL, ANALYZE) token_families;
