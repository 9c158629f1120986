-- Records of Countersign, format 1 (config/record.schema.json). `line` is the record byte for byte, so that `audit verify` can be
-- fed from here; the other columns are read from it as it comes in, for what is asked often. Everything else: JSONExtract on `line`.
--
--   clickhouse-client --query "INSERT INTO countersign.records (line) FORMAT LineAsString" < audit.ndjson

CREATE DATABASE IF NOT EXISTS countersign;

CREATE TABLE IF NOT EXISTS countersign.records
(
    line            String CODEC(ZSTD(3)),
    time            DateTime64(3, 'UTC')     MATERIALIZED parseDateTime64BestEffort(JSONExtractString(line, 'time'), 3, 'UTC'),
    event           LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'event'),
    stream_id       LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'stream', 'id'),
    boot            LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'stream', 'boot'),
    worker          UInt16                   MATERIALIZED JSONExtractUInt(line, 'stream', 'worker'),
    seq             UInt64                   MATERIALIZED JSONExtractUInt(line, 'seq'),
    id              String                   MATERIALIZED JSONExtractString(line, 'id'),
    principal_id    LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'principal', 'id'),
    -- 'workload', or 'none' where principal_id is only a claim
    principal_kind  LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'principal', 'kind'),
    trust_domain    LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'principal', 'trustDomain'),
    owner           LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'principal', 'owner'),
    certificate     String                   MATERIALIZED JSONExtractString(line, 'principal', 'sha256'),
    key             String                   MATERIALIZED JSONExtractString(line, 'principal', 'keySha256'),
    authority       LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'principal', 'authority'),
    effect          LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'decision', 'effect'),
    reason          LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'decision', 'reason'),
    rule            LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'decision', 'rule'),
    exception       LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'decision', 'exception'),
    policy_revision LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'decision', 'policyRevision'),
    trust_revision  LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'decision', 'trustRevision'),
    listener        LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'request', 'listener'),
    route           LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'request', 'route'),
    destination     LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'request', 'destination'),
    method          LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'request', 'method'),
    host            String                   MATERIALIZED JSONExtractString(line, 'request', 'host'),
    path            String                   MATERIALIZED JSONExtractString(line, 'request', 'path'),
    trace_id        String                   MATERIALIZED JSONExtractString(line, 'request', 'traceId'),
    secrets         Array(String)            MATERIALIZED JSONExtract(line, 'request', 'secrets', 'Array(String)'),
    status          UInt16                   MATERIALIZED JSONExtractUInt(line, 'response', 'status'),
    outcome         LowCardinality(String)   MATERIALIZED JSONExtractString(line, 'response', 'outcome'),
    total_ms        Float64                  MATERIALIZED JSONExtractFloat(line, 'timing', 'totalMs'),
    upstream_ms     Float64                  MATERIALIZED JSONExtractFloat(line, 'timing', 'upstreamMs'),
    address         String                   MATERIALIZED JSONExtractString(line, 'peer', 'address'),
    detail          String                   MATERIALIZED JSONExtractString(line, 'detail'),

    INDEX by_id id TYPE bloom_filter GRANULARITY 4,
    INDEX by_trace trace_id TYPE bloom_filter GRANULARITY 4,
    INDEX by_key key TYPE bloom_filter GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(time)
-- what is asked most: what an identity touched, and who touched a destination
ORDER BY (event, principal_id, destination, time);
