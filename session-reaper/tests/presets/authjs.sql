-- @auth/pg-adapter 1.11.3, as created by its schema.sql: no foreign keys, and no indexes except the primary keys.

CREATE TABLE verification_token (
    identifier text        NOT NULL,
    expires    timestamptz NOT NULL,
    token      text        NOT NULL,
    PRIMARY KEY (identifier, token)
);

CREATE TABLE sessions (
    id             serial       PRIMARY KEY,
    "userId"       integer      NOT NULL,
    expires        timestamptz  NOT NULL,
    "sessionToken" varchar(255) NOT NULL
);
