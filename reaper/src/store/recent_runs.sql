-- Returns summaries of at most $1 runs of the last day. The server extracts the summaries from the
-- reports, so the reports themselves are not transferred.
SELECT r.started_at, r.outcome, d.deleted, d.mean, d.longest
FROM (SELECT * FROM {runs}
      WHERE started_at OPERATOR(pg_catalog.>) (pg_catalog.now() OPERATOR(pg_catalog.-) interval '24 hours')
      ORDER BY started_at DESC, id DESC LIMIT $1) AS r,
LATERAL (
    SELECT coalesce(pg_catalog.sum((
               SELECT pg_catalog.sum(by_reason.value::bigint)
               FROM pg_catalog.jsonb_each_text(t OPERATOR(pg_catalog.->) 'deleted') AS by_reason)), 0)::bigint AS deleted,
           CASE WHEN pg_catalog.sum((t OPERATOR(pg_catalog.->>) 'chunks')::double precision)
                    FILTER (WHERE t OPERATOR(pg_catalog.?) 'chunk_ms') OPERATOR(pg_catalog.<>) 0
               THEN pg_catalog.sum((t OPERATOR(pg_catalog.#>>) '{chunk_ms,mean}')::double precision
                        OPERATOR(pg_catalog.*) (t OPERATOR(pg_catalog.->>) 'chunks')::double precision)
                    OPERATOR(pg_catalog./) pg_catalog.sum((t OPERATOR(pg_catalog.->>) 'chunks')::double precision)
                        FILTER (WHERE t OPERATOR(pg_catalog.?) 'chunk_ms')
           END AS mean,
           pg_catalog.max((t OPERATOR(pg_catalog.#>>) '{chunk_ms,max}')::double precision) AS longest
    FROM pg_catalog.jsonb_array_elements(
        CASE WHEN pg_catalog.jsonb_typeof(r.report OPERATOR(pg_catalog.->) 'targets') OPERATOR(pg_catalog.=) 'array'
            THEN r.report OPERATOR(pg_catalog.->) 'targets' ELSE '[]' END) AS t) AS d
ORDER BY r.started_at DESC
