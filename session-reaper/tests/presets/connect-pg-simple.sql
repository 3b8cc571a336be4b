-- connect-pg-simple 10.0.0, as created by its table.sql (and createTableIfMissing).

CREATE TABLE session (
    sid    varchar      NOT NULL,
    sess   json         NOT NULL,
    expire timestamp(6) NOT NULL,
    CONSTRAINT session_pkey PRIMARY KEY (sid)
);

CREATE INDEX "IDX_session_expire" ON session (expire);
