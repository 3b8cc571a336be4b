-- tower-sessions-sqlx-store 0.15.0, as created by PostgresStore::migrate with the default names.

CREATE SCHEMA IF NOT EXISTS tower_sessions;

CREATE TABLE tower_sessions.session (
    id          text        NOT NULL PRIMARY KEY,
    data        bytea       NOT NULL,
    expiry_date timestamptz NOT NULL
);
