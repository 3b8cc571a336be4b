-- Matrix Authentication Service 1.22.0, all of its migrations applied: the tables of tokens, grants and sessions, with the
-- columns that times and references need. Tables that are not deleted from have only their key and their references.

CREATE TABLE user_sessions (
    user_session_id uuid        NOT NULL PRIMARY KEY,
    user_id         uuid        NOT NULL,
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    user_agent      text,
    last_active_at  timestamptz,
    last_active_ip  inet
);

CREATE INDEX user_sessions_user_fk ON user_sessions (user_id) INCLUDE (last_active_at);
CREATE INDEX user_sessions_last_active_at_idx ON user_sessions (last_active_at);
CREATE INDEX user_sessions_finished_at_idx ON user_sessions (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE upstream_oauth_authorization_sessions (
    upstream_oauth_authorization_session_id uuid NOT NULL PRIMARY KEY,
    user_session_id                         uuid REFERENCES user_sessions (user_session_id) ON DELETE SET NULL
);

CREATE INDEX upstream_oauth_authorization_sessions_user_session_id_idx
    ON upstream_oauth_authorization_sessions (user_session_id);

CREATE TABLE user_session_authentications (
    user_session_authentication_id uuid        NOT NULL PRIMARY KEY,
    user_session_id                uuid        NOT NULL REFERENCES user_sessions (user_session_id),
    created_at                     timestamptz NOT NULL
);

CREATE INDEX user_session_authentications_user_session_fk ON user_session_authentications (user_session_id);

CREATE TABLE user_email_authentications (
    user_email_authentication_id uuid NOT NULL PRIMARY KEY,
    user_session_id              uuid REFERENCES user_sessions (user_session_id) ON DELETE SET NULL
);

CREATE INDEX user_email_authentications_user_session_fk ON user_email_authentications (user_session_id);

CREATE TABLE compat_sessions (
    compat_session_id uuid        NOT NULL PRIMARY KEY,
    user_session_id   uuid        REFERENCES user_sessions (user_session_id),
    created_at        timestamptz NOT NULL,
    finished_at       timestamptz
);

CREATE INDEX compat_sessions_user_session_fk ON compat_sessions (user_session_id);
CREATE INDEX compat_sessions_finished_at_idx ON compat_sessions (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE compat_sso_logins (
    compat_sso_login_id uuid NOT NULL PRIMARY KEY,
    compat_session_id   uuid REFERENCES compat_sessions (compat_session_id) ON DELETE SET NULL,
    user_session_id     uuid REFERENCES user_sessions (user_session_id) ON DELETE CASCADE
);

CREATE INDEX compat_sso_logins_session_fk ON compat_sso_logins (compat_session_id);

CREATE TABLE oauth2_sessions (
    oauth2_session_id uuid        NOT NULL PRIMARY KEY,
    user_session_id   uuid        REFERENCES user_sessions (user_session_id),
    oauth2_client_id  uuid        NOT NULL,
    user_id           uuid,
    created_at        timestamptz NOT NULL,
    finished_at       timestamptz,
    last_active_at    timestamptz,
    last_active_ip    inet
);

CREATE INDEX oauth2_sessions_user_session_fk ON oauth2_sessions (user_session_id);
CREATE INDEX oauth2_sessions_client_fk ON oauth2_sessions (oauth2_client_id);
CREATE INDEX oauth2_sessions_user_fk ON oauth2_sessions (user_id) INCLUDE (last_active_at);
CREATE INDEX oauth2_sessions_last_active_at_idx ON oauth2_sessions (last_active_at);
CREATE INDEX oauth2_sessions_finished_at_idx ON oauth2_sessions (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE oauth2_access_tokens (
    oauth2_access_token_id uuid        NOT NULL PRIMARY KEY,
    oauth2_session_id      uuid        NOT NULL REFERENCES oauth2_sessions (oauth2_session_id),
    access_token           text        NOT NULL CONSTRAINT oauth2_access_tokens_unique UNIQUE,
    created_at             timestamptz NOT NULL,
    expires_at             timestamptz,
    revoked_at             timestamptz,
    first_used_at          timestamptz
);

CREATE INDEX oauth2_access_tokens_session_fk ON oauth2_access_tokens (oauth2_session_id);
CREATE INDEX oauth_access_tokens_revoked_at_idx ON oauth2_access_tokens (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX oauth_access_tokens_expires_at_idx ON oauth2_access_tokens (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE oauth2_refresh_tokens (
    oauth2_refresh_token_id      uuid        NOT NULL PRIMARY KEY,
    oauth2_session_id            uuid        NOT NULL
        CONSTRAINT oauth2_access_tokens_oauth2_session_id_fkey REFERENCES oauth2_sessions (oauth2_session_id),
    oauth2_access_token_id       uuid        REFERENCES oauth2_access_tokens (oauth2_access_token_id) ON DELETE SET NULL,
    refresh_token                text        NOT NULL CONSTRAINT oauth2_refresh_tokens_unique UNIQUE,
    created_at                   timestamptz NOT NULL,
    consumed_at                  timestamptz,
    revoked_at                   timestamptz,
    next_oauth2_refresh_token_id uuid        REFERENCES oauth2_refresh_tokens (oauth2_refresh_token_id) ON DELETE SET NULL
);

CREATE INDEX oauth2_refresh_tokens_session_fk ON oauth2_refresh_tokens (oauth2_session_id);
CREATE INDEX oauth2_refresh_tokens_access_token_fk ON oauth2_refresh_tokens (oauth2_access_token_id);
CREATE INDEX oauth2_refresh_tokens_next_refresh_token_fk ON oauth2_refresh_tokens (next_oauth2_refresh_token_id);
CREATE INDEX oauth_refresh_tokens_revoked_at_idx ON oauth2_refresh_tokens (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX oauth_refresh_token_not_consumed_idx ON oauth2_refresh_tokens (oauth2_refresh_token_id) WHERE consumed_at IS NOT NULL;
CREATE INDEX oauth_refresh_token_consumed_at_idx
    ON oauth2_refresh_tokens (consumed_at, next_oauth2_refresh_token_id, oauth2_refresh_token_id)
    WHERE consumed_at IS NOT NULL;

CREATE TABLE oauth2_authorization_grants (
    oauth2_authorization_grant_id uuid        NOT NULL PRIMARY KEY,
    oauth2_client_id              uuid        NOT NULL,
    oauth2_session_id             uuid
        CONSTRAINT tbl_oauth2_session_fkey REFERENCES oauth2_sessions (oauth2_session_id),
    authorization_code            text        CONSTRAINT oauth2_authorization_grants_authorization_code_unique UNIQUE,
    created_at                    timestamptz NOT NULL,
    fulfilled_at                  timestamptz,
    cancelled_at                  timestamptz,
    exchanged_at                  timestamptz,
    user_session_id               uuid        REFERENCES user_sessions (user_session_id) ON DELETE SET NULL
);

CREATE INDEX oauth2_authorization_grants_client_fk ON oauth2_authorization_grants (oauth2_client_id);
CREATE INDEX oauth2_authorization_grants_session_fk ON oauth2_authorization_grants (oauth2_session_id);
CREATE INDEX oauth2_authorization_grants_user_session_id_idx ON oauth2_authorization_grants (user_session_id);

CREATE TABLE oauth2_device_code_grant (
    oauth2_device_code_grant_id uuid        NOT NULL PRIMARY KEY,
    oauth2_client_id            uuid        NOT NULL,
    user_code                   text        NOT NULL UNIQUE,
    device_code                 text        NOT NULL UNIQUE,
    created_at                  timestamptz NOT NULL,
    expires_at                  timestamptz NOT NULL,
    fulfilled_at                timestamptz,
    rejected_at                 timestamptz,
    exchanged_at                timestamptz,
    oauth2_session_id           uuid        REFERENCES oauth2_sessions (oauth2_session_id) ON DELETE CASCADE,
    user_session_id             uuid        REFERENCES user_sessions (user_session_id)
);

CREATE INDEX oauth2_device_code_grants_client_fk ON oauth2_device_code_grant (oauth2_client_id);
CREATE INDEX oauth2_device_code_grants_session_fk ON oauth2_device_code_grant (oauth2_session_id);
CREATE INDEX oauth2_device_code_grants_user_session_fk ON oauth2_device_code_grant (user_session_id);
