-- The rows that the traffic goes to, by number: {rows} of those that are not due, anywhere in the table.
CREATE TABLE live (k integer PRIMARY KEY, id uuid NOT NULL);
INSERT INTO live
SELECT row_number() OVER (ORDER BY hashint8extended(hashtext(id::text), 3), id), id FROM sessions
WHERE expires_at > now()
ORDER BY 1 LIMIT {rows};
VACUUM (FREEZE, ANALYZE) live;
