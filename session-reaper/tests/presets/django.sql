-- Django 5.2.19, django.contrib.sessions, migration 0001_initial on PostgreSQL.

CREATE TABLE django_session (
    session_key  varchar(40) NOT NULL PRIMARY KEY,
    session_data text        NOT NULL,
    expire_date  timestamptz NOT NULL
);

CREATE INDEX django_session_session_key_c0390e0f_like ON django_session (session_key varchar_pattern_ops);
CREATE INDEX django_session_expire_date_a5c62663 ON django_session (expire_date);
