-- The rows that the traffic uses, by number: {rows} random rows that are not due.
CREATE TABLE live (k integer PRIMARY KEY, id uuid NOT NULL);
INSERT INTO live
SELECT row_number() OVER (ORDER BY hashint8extended(hashtext(id::text), 3), id), id FROM sessions
WHERE expires_at > now()
ORDER BY 1 LIMIT {rows};
VACUUM (FREEZE, ANALYZE) live;
