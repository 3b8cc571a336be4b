-- Laravel 13, derived from the migration that make:session-table writes (the same table is in a new application). There is
-- no foreign key to users.

CREATE TABLE sessions (
    id            varchar(255) NOT NULL PRIMARY KEY,
    user_id       bigint,
    ip_address    varchar(45),
    user_agent    text,
    payload       text         NOT NULL,
    last_activity integer      NOT NULL
);

CREATE INDEX sessions_user_id_index ON sessions (user_id);
CREATE INDEX sessions_last_activity_index ON sessions (last_activity);
