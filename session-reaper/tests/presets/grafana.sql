-- Grafana 12, derived from its migrations. Times of tokens are seconds since 1970, and 0 means none. There are no foreign
-- keys.

CREATE TABLE user_auth_token (
    id                  serial       NOT NULL PRIMARY KEY,
    user_id             bigint       NOT NULL,
    auth_token          varchar(100) NOT NULL,
    prev_auth_token     varchar(100) NOT NULL,
    user_agent          varchar(255) NOT NULL,
    client_ip           varchar(255) NOT NULL,
    auth_token_seen     boolean      NOT NULL,
    seen_at             integer,
    rotated_at          integer      NOT NULL,
    created_at          integer      NOT NULL,
    updated_at          integer      NOT NULL,
    revoked_at          integer,
    external_session_id bigint
);

CREATE UNIQUE INDEX "UQE_user_auth_token_auth_token" ON user_auth_token (auth_token);
CREATE UNIQUE INDEX "UQE_user_auth_token_prev_auth_token" ON user_auth_token (prev_auth_token);
CREATE INDEX "IDX_user_auth_token_user_id" ON user_auth_token (user_id);
CREATE INDEX "IDX_user_auth_token_revoked_at" ON user_auth_token (revoked_at);

CREATE TABLE user_external_session (
    id              serial        NOT NULL PRIMARY KEY,
    user_auth_id    bigint        NOT NULL,
    user_id         bigint        NOT NULL,
    auth_module     varchar(190)  NOT NULL,
    access_token    text,
    id_token        text,
    refresh_token   text,
    session_id      varchar(1024),
    session_id_hash char(44),
    name_id         varchar(1024),
    name_id_hash    char(44),
    expires_at      timestamp,
    created_at      timestamp     NOT NULL
);

CREATE INDEX "IDX_user_external_session_user_id" ON user_external_session (user_id);
CREATE INDEX "IDX_user_external_session_session_id_hash" ON user_external_session (session_id_hash);
CREATE INDEX "IDX_user_external_session_name_id_hash" ON user_external_session (name_id_hash);
