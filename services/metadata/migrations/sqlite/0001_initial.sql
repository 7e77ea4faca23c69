-- Times are Unix milliseconds. Texts compare by bytes, so that names and tags list in ASCII order.

CREATE TABLE repositories (
    id INTEGER PRIMARY KEY,
    -- What tokens and events carry; a name may be used again one day, an id never is.
    public_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- One row per content in this installation. `object_key` names the bytes in blobs and is never used twice.
CREATE TABLE blobs (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    object_key TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('live', 'condemned')),
    created_at INTEGER NOT NULL,
    condemned_at INTEGER,
    -- Since when nothing links the blob, as far as the writes know; garbage collection adds its grace and checks again.
    review_since INTEGER
) STRICT;
CREATE INDEX blobs_by_review ON blobs (review_since) WHERE review_since IS NOT NULL;

CREATE TABLE blob_links (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    blob_id INTEGER NOT NULL REFERENCES blobs (id),
    created_at INTEGER NOT NULL,
    -- Since when no manifest of the repository names the blob, as far as the writes know.
    review_since INTEGER,
    PRIMARY KEY (repository_id, blob_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_links_by_blob ON blob_links (blob_id, repository_id);
CREATE INDEX blob_links_by_review ON blob_links (review_since) WHERE review_since IS NOT NULL;

-- `content` comes last, so that reading the other columns never touches its overflow pages.
CREATE TABLE manifests (
    id INTEGER PRIMARY KEY,
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    content BLOB NOT NULL,
    UNIQUE (repository_id, digest)
) STRICT;

-- What a manifest names, without its subject. `foreign` layers have no blob here and block nothing.
CREATE TABLE manifest_edges (
    parent_id INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    child_digest TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('config', 'layer', 'foreign', 'child')),
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    PRIMARY KEY (parent_id, child_digest, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_edges_by_child ON manifest_edges (repository_id, child_digest, parent_id);

-- One row per manifest with a subject. `descriptor` is the JSON object that the referrers API answers.
CREATE TABLE referrers (
    manifest_id INTEGER PRIMARY KEY REFERENCES manifests (id) ON DELETE CASCADE,
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    subject_digest TEXT NOT NULL,
    digest TEXT NOT NULL,
    artifact_type TEXT,
    descriptor BLOB NOT NULL
) STRICT;
CREATE INDEX referrers_by_subject ON referrers (repository_id, subject_digest, digest);
CREATE INDEX referrers_by_type ON referrers (repository_id, subject_digest, artifact_type, digest);

CREATE TABLE tags (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    name TEXT NOT NULL,
    manifest_id INTEGER NOT NULL REFERENCES manifests (id),
    version INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (repository_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_manifest ON tags (manifest_id);

-- Every change of a tag, kept when the tag goes; the next version is counted from here.
CREATE TABLE tag_history (
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    tag TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT,
    previous_digest TEXT,
    changed_at INTEGER NOT NULL,
    actor_issuer TEXT NOT NULL,
    actor_subject TEXT NOT NULL,
    request_id TEXT NOT NULL,
    PRIMARY KEY (repository_id, tag, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE upload_sessions (
    id TEXT PRIMARY KEY,
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    actor_issuer TEXT NOT NULL,
    actor_subject TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'finishing', 'aborting', 'finished')),
    -- Counts the leases; only the holder of the newest may write.
    epoch INTEGER NOT NULL,
    -- Bytes that `state` covers.
    received INTEGER NOT NULL,
    -- Sealed by blobs; opaque here.
    state BLOB NOT NULL,
    -- What the last finish named, also when something else was tried after it: its object may be there.
    digest TEXT,
    size INTEGER,
    created_at INTEGER NOT NULL,
    -- When the reaper looks: an idle session is aborted, an aborting one tried again, a finished one forgotten.
    due_at INTEGER NOT NULL
) STRICT;
CREATE INDEX upload_sessions_by_due ON upload_sessions (due_at);

CREATE TABLE push_grants (
    token_hash BLOB NOT NULL,
    repository_id INTEGER NOT NULL REFERENCES repositories (id),
    actor_issuer TEXT NOT NULL,
    actor_subject TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (token_hash, repository_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX push_grants_by_use ON push_grants (used_at);

CREATE TABLE outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    event BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    leased_until INTEGER NOT NULL,
    attempts INTEGER NOT NULL
) STRICT;

-- Objects that nothing resolves any more, and when their bytes may go.
CREATE TABLE object_deletions (
    object_key TEXT PRIMARY KEY,
    not_before INTEGER NOT NULL,
    attempts INTEGER NOT NULL
) STRICT;
CREATE INDEX object_deletions_by_time ON object_deletions (not_before);
