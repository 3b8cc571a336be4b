-- Laravel Passport 13, derived from its migrations. There are no foreign keys.

CREATE TABLE oauth_auth_codes (
    id         char(80)     NOT NULL PRIMARY KEY,
    user_id    bigint       NOT NULL,
    client_id  uuid         NOT NULL,
    scopes     text,
    revoked    boolean      NOT NULL,
    expires_at timestamp(0)
);

CREATE INDEX oauth_auth_codes_user_id_index ON oauth_auth_codes (user_id);

CREATE TABLE oauth_access_tokens (
    id         char(80)     NOT NULL PRIMARY KEY,
    user_id    bigint,
    client_id  uuid         NOT NULL,
    name       varchar(255),
    scopes     text,
    revoked    boolean      NOT NULL,
    created_at timestamp(0),
    updated_at timestamp(0),
    expires_at timestamp(0)
);

CREATE INDEX oauth_access_tokens_user_id_index ON oauth_access_tokens (user_id);

CREATE TABLE oauth_refresh_tokens (
    id              char(80)     NOT NULL PRIMARY KEY,
    access_token_id char(80)     NOT NULL,
    revoked         boolean      NOT NULL,
    expires_at      timestamp(0)
);

CREATE INDEX oauth_refresh_tokens_access_token_id_index ON oauth_refresh_tokens (access_token_id);

CREATE TABLE oauth_device_codes (
    id               char(80)     NOT NULL PRIMARY KEY,
    user_id          bigint,
    client_id        uuid         NOT NULL,
    user_code        char(8)      NOT NULL CONSTRAINT oauth_device_codes_user_code_unique UNIQUE,
    scopes           text         NOT NULL,
    "interval"       smallint     NOT NULL,
    revoked          boolean      NOT NULL,
    user_approved_at timestamp(0),
    last_polled_at   timestamp(0),
    expires_at       timestamp(0)
);

CREATE INDEX oauth_device_codes_user_id_index ON oauth_device_codes (user_id);
CREATE INDEX oauth_device_codes_client_id_index ON oauth_device_codes (client_id);
