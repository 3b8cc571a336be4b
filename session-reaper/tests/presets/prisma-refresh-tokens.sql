-- The usual model as created by Prisma Migrate on PostgreSQL: DateTime is timestamp(3) without time zone, String is text.
-- Users have only the columns that tokens refer to.

CREATE TABLE users (
    id text NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id)
);

CREATE TABLE refresh_tokens (
    id         text         NOT NULL,
    user_id    text         NOT NULL,
    token_hash text         NOT NULL,
    family     text         NOT NULL,
    expires_at timestamp(3) NOT NULL,
    revoked_at timestamp(3),
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id)
);

CREATE UNIQUE INDEX refresh_tokens_token_hash_key ON refresh_tokens (token_hash);
CREATE INDEX refresh_tokens_user_id_idx ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_family_idx ON refresh_tokens (family);

ALTER TABLE refresh_tokens ADD CONSTRAINT refresh_tokens_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE ON UPDATE CASCADE;
