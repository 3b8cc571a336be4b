-- Laravel Sanctum 4, derived from its migration.

CREATE TABLE personal_access_tokens (
    id             bigserial    NOT NULL PRIMARY KEY,
    tokenable_type varchar(255) NOT NULL,
    tokenable_id   bigint       NOT NULL,
    name           text         NOT NULL,
    token          varchar(64)  NOT NULL CONSTRAINT personal_access_tokens_token_unique UNIQUE,
    abilities      text,
    last_used_at   timestamp(0),
    expires_at     timestamp(0),
    created_at     timestamp(0),
    updated_at     timestamp(0)
);

CREATE INDEX personal_access_tokens_tokenable_type_tokenable_id_index
    ON personal_access_tokens (tokenable_type, tokenable_id);
