-- Nextcloud 28 and later, derived from the migrations of its core, with the default table prefix oc_. Times are seconds since
-- 1970.

CREATE TABLE oc_authtoken (
    id               bigserial    NOT NULL PRIMARY KEY,
    uid              varchar(64)  NOT NULL DEFAULT '',
    login_name       varchar(255) NOT NULL DEFAULT '',
    password         text,
    name             text         NOT NULL DEFAULT '',
    token            varchar(200) NOT NULL DEFAULT '' CONSTRAINT authtoken_token_index UNIQUE,
    type             smallint     DEFAULT 0,
    remember         smallint     DEFAULT 0,
    last_activity    integer      DEFAULT 0,
    last_check       integer      DEFAULT 0,
    scope            text,
    expires          integer,
    private_key      text,
    public_key       text,
    version          smallint     NOT NULL DEFAULT 1,
    password_invalid boolean      DEFAULT false,
    password_hash    varchar(255)
);

CREATE INDEX authtoken_last_activity_idx ON oc_authtoken (last_activity);
CREATE INDEX authtoken_uid_index ON oc_authtoken (uid);
CREATE INDEX authtoken_version_index ON oc_authtoken (version);
