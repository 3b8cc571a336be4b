-- better-auth 1.7.1, as created by its migrate command with the default options (text IDs).
-- "user" has only the columns that sessions refer to.

CREATE TABLE "user" (
    id text NOT NULL PRIMARY KEY
);

CREATE TABLE session (
    id          text        NOT NULL PRIMARY KEY,
    "expiresAt" timestamptz NOT NULL,
    token       text        NOT NULL UNIQUE,
    "createdAt" timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" timestamptz NOT NULL,
    "ipAddress" text,
    "userAgent" text,
    "userId"    text        NOT NULL REFERENCES "user" (id) ON DELETE CASCADE
);

CREATE TABLE verification (
    id          text        NOT NULL PRIMARY KEY,
    identifier  text        NOT NULL,
    value       text        NOT NULL,
    "expiresAt" timestamptz NOT NULL,
    "createdAt" timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX "session_userId_idx" ON session ("userId");
CREATE INDEX verification_identifier_idx ON verification (identifier);
