-- Doorkeeper 5.9.6, as created by its install migration on Rails 7 or later (datetime is timestamp(6), in UTC).
-- oauth_applications has only the columns that tokens refer to.

CREATE TABLE oauth_applications (
    id bigserial PRIMARY KEY
);

CREATE TABLE oauth_access_grants (
    id                bigserial    PRIMARY KEY,
    resource_owner_id bigint       NOT NULL,
    application_id    bigint       NOT NULL,
    token             varchar      NOT NULL,
    expires_in        integer      NOT NULL,
    redirect_uri      text         NOT NULL,
    scopes            varchar      NOT NULL DEFAULT '',
    created_at        timestamp(6) NOT NULL,
    revoked_at        timestamp(6),
    CONSTRAINT fk_rails_b4b53e07b8 FOREIGN KEY (application_id) REFERENCES oauth_applications (id)
);

CREATE INDEX index_oauth_access_grants_on_resource_owner_id ON oauth_access_grants (resource_owner_id);
CREATE INDEX index_oauth_access_grants_on_application_id ON oauth_access_grants (application_id);
CREATE UNIQUE INDEX index_oauth_access_grants_on_token ON oauth_access_grants (token);

CREATE TABLE oauth_access_tokens (
    id                     bigserial    PRIMARY KEY,
    resource_owner_id      bigint,
    application_id         bigint       NOT NULL,
    token                  varchar      NOT NULL,
    refresh_token          varchar,
    expires_in             integer,
    scopes                 varchar,
    created_at             timestamp(6) NOT NULL,
    revoked_at             timestamp(6),
    previous_refresh_token varchar      NOT NULL DEFAULT '',
    CONSTRAINT fk_rails_732cb83ab7 FOREIGN KEY (application_id) REFERENCES oauth_applications (id)
);

CREATE INDEX index_oauth_access_tokens_on_resource_owner_id ON oauth_access_tokens (resource_owner_id);
CREATE INDEX index_oauth_access_tokens_on_application_id ON oauth_access_tokens (application_id);
CREATE UNIQUE INDEX index_oauth_access_tokens_on_token ON oauth_access_tokens (token);
CREATE UNIQUE INDEX index_oauth_access_tokens_on_refresh_token ON oauth_access_tokens (refresh_token);
