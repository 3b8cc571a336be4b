-- Keycloak 26.7, derived from its Liquibase change logs: the tables of sessions, revoked tokens and single-use objects.
-- Realms have only their key and their session timeouts. Sessions have no foreign keys.

CREATE TABLE realm (
    id                           varchar(36) NOT NULL PRIMARY KEY,
    sso_idle_timeout             integer,
    sso_max_lifespan             integer,
    sso_idle_timeout_remember_me integer     NOT NULL,
    sso_max_lifespan_remember_me integer     NOT NULL,
    offline_session_idle_timeout integer
);

CREATE TABLE offline_user_session (
    user_session_id      varchar(36)   NOT NULL,
    user_id              varchar(255)  NOT NULL,
    realm_id             varchar(36)   NOT NULL,
    created_on           integer       NOT NULL,
    offline_flag         varchar(4)    NOT NULL,
    data                 text,
    last_session_refresh integer       NOT NULL DEFAULT 0,
    broker_session_id    varchar(1024),
    version              integer       DEFAULT 0,
    remember_me          boolean,
    CONSTRAINT constraint_offl_us_ses_pk2 PRIMARY KEY (user_session_id, offline_flag)
);

CREATE INDEX idx_offline_uss_by_user ON offline_user_session (user_id, realm_id, offline_flag);
CREATE INDEX idx_offline_uss_by_last_session_refresh ON offline_user_session (realm_id, offline_flag, last_session_refresh);
CREATE INDEX idx_offline_uss_by_broker_session_id ON offline_user_session (broker_session_id, realm_id);
CREATE INDEX idx_user_session_expiration_created ON offline_user_session (realm_id, offline_flag, remember_me, created_on);
CREATE INDEX idx_user_session_expiration_last_refresh
    ON offline_user_session (realm_id, offline_flag, remember_me, last_session_refresh);

CREATE TABLE offline_client_session (
    user_session_id         varchar(36)  NOT NULL,
    client_id               varchar(255) NOT NULL,
    offline_flag            varchar(4)   NOT NULL,
    "timestamp"             integer,
    data                    text,
    client_storage_provider varchar(36)  NOT NULL DEFAULT 'local',
    external_client_id      varchar(255) NOT NULL DEFAULT 'local',
    version                 integer      DEFAULT 0,
    CONSTRAINT constraint_offl_cl_ses_pk3
        PRIMARY KEY (user_session_id, client_id, client_storage_provider, external_client_id, offline_flag)
);

CREATE INDEX idx_offline_css_by_client ON offline_client_session (client_id, offline_flag) WHERE client_id <> 'external';
CREATE INDEX idx_offline_css_by_client_storage_provider
    ON offline_client_session (client_storage_provider, external_client_id, offline_flag)
    WHERE client_storage_provider <> 'internal';

CREATE TABLE revoked_token (
    id     varchar(255) NOT NULL,
    expire bigint       NOT NULL,
    CONSTRAINT constraint_rt PRIMARY KEY (id)
);

CREATE INDEX idx_rev_token_on_expire ON revoked_token (expire);

CREATE TABLE single_use_object (
    id     varchar(255) NOT NULL,
    notes  text,
    expire bigint       NOT NULL,
    CONSTRAINT pk_single_use_object PRIMARY KEY (id)
);

CREATE INDEX idx_single_use_obj_expire ON single_use_object (expire);
