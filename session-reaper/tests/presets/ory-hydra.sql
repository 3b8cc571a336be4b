-- Ory Hydra v26.2.0, all of its PostgreSQL migrations applied. Times are timestamp without time zone, in UTC.
-- Networks, clients, keys and login sessions have only the columns that these tables refer to.

CREATE TABLE networks (
    id uuid NOT NULL PRIMARY KEY
);

CREATE TABLE hydra_client (
    id  varchar(255) NOT NULL,
    nid uuid         NOT NULL,
    PRIMARY KEY (id, nid)
);

CREATE TABLE hydra_jwk (
    pk  uuid         NOT NULL PRIMARY KEY,
    sid varchar(255) NOT NULL,
    kid varchar(255) NOT NULL,
    nid uuid         NOT NULL
);

CREATE UNIQUE INDEX hydra_jwk_sid_kid_nid_key ON hydra_jwk (sid, kid, nid);

CREATE TABLE hydra_oauth2_authentication_session (
    id varchar(40) NOT NULL PRIMARY KEY
);

CREATE TABLE hydra_oauth2_flow (
    login_challenge               varchar(40)  NOT NULL PRIMARY KEY,
    login_verifier                varchar(40),
    login_csrf                    varchar(40),
    subject                       varchar(255),
    request_url                   text,
    login_skip                    boolean,
    client_id                     varchar(255),
    requested_at                  timestamp    NOT NULL DEFAULT now(),
    login_initialized_at          timestamp,
    oidc_context                  jsonb,
    login_session_id              varchar(40),
    state                         integer,
    login_remember                boolean,
    login_remember_for            integer,
    login_error                   text,
    acr                           text,
    login_authenticated_at        timestamp,
    login_was_used                boolean,
    forced_subject_identifier     varchar(255),
    context                       jsonb,
    consent_challenge_id          varchar(40),
    consent_skip                  boolean,
    consent_verifier              varchar(40),
    consent_csrf                  varchar(40),
    consent_remember              boolean,
    consent_remember_for          integer,
    consent_handled_at            timestamp,
    consent_error                 text,
    session_access_token          jsonb,
    session_id_token              jsonb,
    consent_was_used              boolean,
    nid                           uuid         NOT NULL,
    requested_scope               jsonb,
    requested_at_audience         jsonb,
    amr                           jsonb,
    granted_scope                 jsonb,
    granted_at_audience           jsonb,
    login_extend_session_lifespan boolean,
    identity_provider_session_id  varchar(40),
    device_challenge_id           varchar(255),
    device_code_request_id        varchar(255),
    device_verifier               varchar(40),
    device_csrf                   varchar(40),
    device_was_used               boolean,
    device_handled_at             timestamp,
    device_error                  varchar(2048),
    expires_at                    timestamp    GENERATED ALWAYS AS (
        CASE WHEN consent_remember_for > 0
             THEN requested_at + consent_remember_for::double precision * '00:00:01'::interval
             ELSE NULL::timestamp without time zone
        END) STORED,
    CONSTRAINT hydra_oauth2_flow_client_id_fk
        FOREIGN KEY (client_id, nid) REFERENCES hydra_client (id, nid) ON DELETE CASCADE,
    CONSTRAINT hydra_oauth2_flow_login_session_id_fk
        FOREIGN KEY (login_session_id) REFERENCES hydra_oauth2_authentication_session (id) ON DELETE SET NULL,
    CONSTRAINT hydra_oauth2_flow_nid_fk_idx
        FOREIGN KEY (nid) REFERENCES networks (id) ON UPDATE RESTRICT ON DELETE CASCADE
);

CREATE INDEX hydra_oauth2_flow_cid_idx ON hydra_oauth2_flow (client_id, nid);
CREATE INDEX hydra_oauth2_flow_client_id_subject_idx ON hydra_oauth2_flow (client_id, nid, subject);
CREATE UNIQUE INDEX hydra_oauth2_flow_consent_challenge_idx ON hydra_oauth2_flow (consent_challenge_id);
CREATE UNIQUE INDEX hydra_oauth2_flow_device_challenge_idx ON hydra_oauth2_flow (device_challenge_id);
CREATE INDEX hydra_oauth2_flow_login_session_id_idx ON hydra_oauth2_flow (login_session_id, nid);
CREATE INDEX hydra_oauth2_flow_previous_consents_idx
    ON hydra_oauth2_flow (subject, client_id, nid, consent_skip, consent_error, consent_remember);
CREATE INDEX hydra_oauth2_flow_sub_idx ON hydra_oauth2_flow (subject, nid);

CREATE TABLE hydra_oauth2_access (
    signature          varchar(255) NOT NULL PRIMARY KEY,
    request_id         varchar(40)  NOT NULL,
    requested_at       timestamp    NOT NULL DEFAULT now(),
    client_id          varchar(255) NOT NULL,
    scope              text         NOT NULL,
    granted_scope      text         NOT NULL,
    form_data          text         NOT NULL,
    session_data       text         NOT NULL,
    subject            varchar(255) NOT NULL DEFAULT '',
    active             boolean      NOT NULL DEFAULT true,
    requested_audience text         DEFAULT '',
    granted_audience   text         DEFAULT '',
    challenge_id       varchar(40),
    nid                uuid         NOT NULL,
    expires_at         timestamp,
    CONSTRAINT hydra_oauth2_access_challenge_id_fk
        FOREIGN KEY (challenge_id) REFERENCES hydra_oauth2_flow (consent_challenge_id) ON DELETE CASCADE,
    CONSTRAINT hydra_oauth2_access_client_id_fk
        FOREIGN KEY (client_id, nid) REFERENCES hydra_client (id, nid) ON DELETE CASCADE,
    CONSTRAINT hydra_oauth2_access_nid_fk_idx
        FOREIGN KEY (nid) REFERENCES networks (id) ON UPDATE RESTRICT ON DELETE CASCADE
);

CREATE INDEX hydra_oauth2_access_challenge_id_idx ON hydra_oauth2_access (challenge_id);
CREATE INDEX hydra_oauth2_access_client_id_idx ON hydra_oauth2_access (client_id, nid);
CREATE INDEX hydra_oauth2_access_request_id_idx ON hydra_oauth2_access (request_id, nid);
CREATE INDEX hydra_oauth2_access_requested_at_idx ON hydra_oauth2_access (requested_at, nid);

CREATE TABLE hydra_oauth2_refresh (
    signature              varchar(255) NOT NULL PRIMARY KEY,
    request_id             varchar(40)  NOT NULL,
    requested_at           timestamp    NOT NULL DEFAULT now(),
    client_id              varchar(255) NOT NULL,
    scope                  text         NOT NULL,
    granted_scope          text         NOT NULL,
    form_data              text         NOT NULL,
    session_data           text         NOT NULL,
    subject                varchar(255) NOT NULL DEFAULT '',
    active                 boolean      NOT NULL DEFAULT true,
    requested_audience     text         DEFAULT '',
    granted_audience       text         DEFAULT '',
    challenge_id           varchar(40),
    nid                    uuid         NOT NULL,
    expires_at             timestamp,
    first_used_at          timestamp,
    access_token_signature varchar(255) DEFAULT NULL,
    used_times             integer,
    CONSTRAINT hydra_oauth2_refresh_challenge_id_fk
        FOREIGN KEY (challenge_id) REFERENCES hydra_oauth2_flow (consent_challenge_id) ON DELETE CASCADE,
    CONSTRAINT hydra_oauth2_refresh_client_id_fk
        FOREIGN KEY (client_id, nid) REFERENCES hydra_client (id, nid) ON DELETE CASCADE,
    CONSTRAINT hydra_oauth2_refresh_nid_fk_idx
        FOREIGN KEY (nid) REFERENCES networks (id) ON UPDATE RESTRICT ON DELETE CASCADE
);

CREATE INDEX hydra_oauth2_refresh_challenge_id_idx ON hydra_oauth2_refresh (challenge_id);
CREATE INDEX hydra_oauth2_refresh_client_id_idx ON hydra_oauth2_refresh (client_id, nid);
CREATE INDEX hydra_oauth2_refresh_request_id_idx ON hydra_oauth2_refresh (request_id);
CREATE INDEX hydra_oauth2_refresh_requested_at_idx ON hydra_oauth2_refresh (nid, requested_at);

CREATE TABLE hydra_oauth2_code (
    signature          varchar(255) NOT NULL PRIMARY KEY,
    request_id         varchar(40)  NOT NULL,
    requested_at       timestamp    NOT NULL DEFAULT now(),
    client_id          varchar(255) NOT NULL,
    scope              text         NOT NULL,
    granted_scope      text         NOT NULL,
    form_data          text         NOT NULL,
    session_data       text         NOT NULL,
    subject            varchar(255) NOT NULL DEFAULT '',
    active             boolean      NOT NULL DEFAULT true,
    requested_audience text         DEFAULT '',
    granted_audience   text         DEFAULT '',
    challenge_id       varchar(40),
    nid                uuid         NOT NULL,
    expires_at         timestamp,
    CONSTRAINT hydra_oauth2_code_challenge_id_fk
        FOREIGN KEY (challenge_id) REFERENCES hydra_oauth2_flow (consent_challenge_id) ON DELETE CASCADE,
    CONSTRAINT hydra_oauth2_code_client_id_fk
        FOREIGN KEY (client_id, nid) REFERENCES hydra_client (id, nid) ON DELETE CASCADE,
    CONSTRAINT hydra_oauth2_code_nid_fk_idx
        FOREIGN KEY (nid) REFERENCES networks (id) ON UPDATE RESTRICT ON DELETE CASCADE
);

CREATE INDEX hydra_oauth2_code_challenge_id_idx ON hydra_oauth2_code (challenge_id, nid);
CREATE INDEX hydra_oauth2_code_client_id_idx ON hydra_oauth2_code (client_id, nid);

CREATE TABLE hydra_oauth2_oidc (
    signature          varchar(255) NOT NULL PRIMARY KEY,
    request_id         varchar(40)  NOT NULL,
    requested_at       timestamp    NOT NULL DEFAULT now(),
    client_id          varchar(255) NOT NULL,
    scope              text         NOT NULL,
    granted_scope      text         NOT NULL,
    form_data          text         NOT NULL,
    session_data       text         NOT NULL,
    subject            varchar(255) NOT NULL DEFAULT '',
    active             boolean      NOT NULL DEFAULT true,
    requested_audience text         DEFAULT '',
    granted_audience   text         DEFAULT '',
    challenge_id       varchar(40),
    nid                uuid         NOT NULL,
    expires_at         timestamp,
    CONSTRAINT hydra_oauth2_oidc_challenge_id_fk
        FOREIGN KEY (challenge_id) REFERENCES hydra_oauth2_flow (consent_challenge_id) ON DELETE CASCADE,
    CONSTRAINT hydra_oauth2_oidc_client_id_fk
        FOREIGN KEY (client_id, nid) REFERENCES hydra_client (id, nid) ON DELETE CASCADE,
    CONSTRAINT hydra_oauth2_oidc_nid_fk_idx
        FOREIGN KEY (nid) REFERENCES networks (id) ON UPDATE RESTRICT ON DELETE CASCADE
);

CREATE INDEX hydra_oauth2_oidc_challenge_id_idx ON hydra_oauth2_oidc (challenge_id);
CREATE INDEX hydra_oauth2_oidc_client_id_idx ON hydra_oauth2_oidc (client_id, nid);

CREATE TABLE hydra_oauth2_pkce (
    signature          varchar(255) NOT NULL PRIMARY KEY,
    request_id         varchar(40)  NOT NULL,
    requested_at       timestamp    NOT NULL DEFAULT now(),
    client_id          varchar(255) NOT NULL,
    scope              text         NOT NULL,
    granted_scope      text         NOT NULL,
    form_data          text         NOT NULL,
    session_data       text         NOT NULL,
    subject            varchar(255) NOT NULL,
    active             boolean      NOT NULL DEFAULT true,
    requested_audience text         DEFAULT '',
    granted_audience   text         DEFAULT '',
    challenge_id       varchar(40),
    nid                uuid         NOT NULL,
    expires_at         timestamp,
    CONSTRAINT hydra_oauth2_pkce_challenge_id_fk
        FOREIGN KEY (challenge_id) REFERENCES hydra_oauth2_flow (consent_challenge_id) ON DELETE CASCADE,
    CONSTRAINT hydra_oauth2_pkce_client_id_fk
        FOREIGN KEY (client_id, nid) REFERENCES hydra_client (id, nid) ON DELETE CASCADE,
    CONSTRAINT hydra_oauth2_pkce_nid_fk_idx
        FOREIGN KEY (nid) REFERENCES networks (id) ON UPDATE RESTRICT ON DELETE CASCADE
);

CREATE INDEX hydra_oauth2_pkce_challenge_id_idx ON hydra_oauth2_pkce (challenge_id);
CREATE INDEX hydra_oauth2_pkce_client_id_idx ON hydra_oauth2_pkce (client_id, nid);

CREATE TABLE hydra_oauth2_device_auth_codes (
    device_code_signature varchar(255)  NOT NULL,
    user_code_signature   varchar(255)  NOT NULL,
    request_id            varchar(40)   NOT NULL,
    requested_at          timestamp     NOT NULL DEFAULT now(),
    client_id             varchar(255)  NOT NULL,
    scope                 varchar(1024) NOT NULL,
    granted_scope         varchar(1024) NOT NULL,
    form_data             varchar(4096) NOT NULL,
    session_data          text          NOT NULL,
    subject               varchar(255)  NOT NULL DEFAULT '',
    device_code_active    boolean       NOT NULL DEFAULT true,
    user_code_state       smallint      NOT NULL DEFAULT 0,
    requested_audience    varchar(1024) NOT NULL,
    granted_audience      varchar(1024) NOT NULL,
    challenge_id          varchar(40)
        REFERENCES hydra_oauth2_flow (consent_challenge_id) ON DELETE CASCADE,
    expires_at            timestamp,
    nid                   uuid          NOT NULL
        REFERENCES networks (id) ON UPDATE RESTRICT ON DELETE CASCADE,
    PRIMARY KEY (device_code_signature, nid),
    FOREIGN KEY (client_id, nid) REFERENCES hydra_client (id, nid) ON DELETE CASCADE
);

CREATE INDEX hydra_oauth2_device_auth_codes_challenge_id_idx ON hydra_oauth2_device_auth_codes (challenge_id);
CREATE INDEX hydra_oauth2_device_auth_codes_client_id_idx ON hydra_oauth2_device_auth_codes (client_id, nid);
CREATE INDEX hydra_oauth2_device_auth_codes_request_id_idx ON hydra_oauth2_device_auth_codes (request_id, nid);
CREATE UNIQUE INDEX hydra_oauth2_device_auth_codes_user_code_signature_idx
    ON hydra_oauth2_device_auth_codes (nid, user_code_signature);

CREATE TABLE hydra_oauth2_trusted_jwt_bearer_issuer (
    id                uuid         NOT NULL PRIMARY KEY,
    issuer            varchar(255) NOT NULL,
    subject           varchar(255) NOT NULL,
    scope             text         NOT NULL,
    key_set           varchar(255) NOT NULL,
    key_id            varchar(255) NOT NULL,
    created_at        timestamp    NOT NULL DEFAULT now(),
    expires_at        timestamp    NOT NULL DEFAULT now(),
    nid               uuid         NOT NULL,
    allow_any_subject boolean      NOT NULL DEFAULT false,
    CONSTRAINT hydra_oauth2_trusted_jwt_bearer_issue_issuer_subject_key_id_key
        UNIQUE (issuer, subject, key_id, nid),
    CONSTRAINT hydra_oauth2_trusted_jwt_bearer_issuer_key_set_fkey
        FOREIGN KEY (key_set, key_id, nid) REFERENCES hydra_jwk (sid, kid, nid) ON DELETE CASCADE,
    CONSTRAINT hydra_oauth2_trusted_jwt_bearer_issuer_nid_fk_idx
        FOREIGN KEY (nid) REFERENCES networks (id) ON UPDATE RESTRICT ON DELETE CASCADE
);

CREATE INDEX hydra_oauth2_trusted_jwt_bearer_issuer_expires_at_idx ON hydra_oauth2_trusted_jwt_bearer_issuer (expires_at);
CREATE INDEX hydra_oauth2_trusted_jwt_bearer_issuer_nid_idx ON hydra_oauth2_trusted_jwt_bearer_issuer (id, nid);
CREATE UNIQUE INDEX hydra_oauth2_trusted_jwt_bearer_issuer_nid_uq_idx
    ON hydra_oauth2_trusted_jwt_bearer_issuer (nid, key_id, issuer, subject);
