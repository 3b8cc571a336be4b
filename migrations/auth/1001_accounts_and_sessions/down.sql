DROP TABLE token_families;
DROP TABLE sessions;
DROP TABLE accounts;
