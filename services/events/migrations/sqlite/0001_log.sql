-- One row per partition of the log; there is one so far. The transaction that inserts events takes their offsets from
-- here, so that offsets follow the order of commits and have no gaps.
CREATE TABLE log_partition (
    partition_id INTEGER PRIMARY KEY,
    next_offset INTEGER NOT NULL
) STRICT;

INSERT INTO log_partition (partition_id, next_offset) VALUES (0, 1);

CREATE TABLE event (
    log_offset INTEGER PRIMARY KEY,
    -- The CloudEvent's id: an event that is delivered again is not stored again.
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    -- Empty for an event that is not about one repository.
    repository TEXT NOT NULL,
    -- Unix milliseconds; grows with the offset, which retention relies on.
    recorded_at INTEGER NOT NULL,
    cloudevent BLOB NOT NULL
) STRICT;

CREATE INDEX event_by_repository ON event (repository, log_offset);

-- What an outbox handed over and is no CloudEvent. It is kept so that one such row neither stops the log nor is lost.
CREATE TABLE rejected_event (
    id TEXT PRIMARY KEY,
    problem TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    content BLOB NOT NULL
) STRICT;
