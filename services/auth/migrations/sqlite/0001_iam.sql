-- Times are Unix milliseconds. Texts compare by bytes. No secret is in here: of pull tokens there is a hash, and refresh
-- tokens are recomputed from a key that lies elsewhere.

-- One row. Every change of what somebody may do adds one to `revision`; a token carries the revision that it was decided
-- on, and a watermark the one from which older tokens of its subject are good no longer.
CREATE TABLE permissions (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    revision INTEGER NOT NULL,
    -- When `auth.grants` became identities and bindings; they are read once.
    grants_imported_at INTEGER
) STRICT;
INSERT INTO permissions (only_row, revision, grants_imported_at) VALUES (1, 1, NULL);

-- The empty path is the root. A deleted group stays as a tombstone, because its path must not come to mean another group.
CREATE TABLE groups (
    path TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    deleted_at INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO groups (path, display_name, created_at, created_by, deleted_at) VALUES ('', '', 0, '', NULL);

CREATE TABLE push_policies (
    resource_kind TEXT NOT NULL CHECK (resource_kind IN ('group', 'repository')),
    path TEXT NOT NULL,
    policy TEXT NOT NULL CHECK (policy IN ('workload-only')),
    set_at INTEGER NOT NULL,
    set_by TEXT NOT NULL,
    PRIMARY KEY (path, resource_kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE identities (
    id TEXT PRIMARY KEY,
    group_path TEXT NOT NULL REFERENCES groups (path),
    -- In its group; a person and a pull token have none.
    name TEXT,
    -- Group path, slash, and name or id.
    full_name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('anonymous', 'claim_match', 'static', 'human', 'service', 'pull_token')),
    description TEXT NOT NULL,
    -- The exact texts of the rule; null where it has a pattern.
    issuer TEXT,
    subject TEXT,
    -- An audience of the rule's own; empty where it is a pattern.
    audience TEXT,
    -- The whole rule, as JSON.
    rule TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER
) STRICT;
CREATE INDEX identities_by_subject ON identities (issuer, subject) WHERE issuer IS NOT NULL AND subject IS NOT NULL;
CREATE INDEX identities_by_pattern ON identities (issuer, id) WHERE kind = 'claim_match' AND (issuer IS NULL OR subject IS NULL);
CREATE INDEX identities_by_audience ON identities (issuer, audience) WHERE audience IS NOT NULL;
CREATE INDEX identities_by_group ON identities (group_path);
-- Everybody, with a token and without.
INSERT INTO identities (id, group_path, name, full_name, kind, description, rule, created_at, created_by)
VALUES ('anonymous', '', 'anonymous', 'anonymous', 'anonymous', 'everybody', '{"kind":"anonymous"}', 0, '');

-- Custom roles; the built-in ones are in the program.
CREATE TABLE roles (
    -- The full name: group path, slash, own name.
    name TEXT PRIMARY KEY,
    group_path TEXT NOT NULL REFERENCES groups (path),
    description TEXT NOT NULL,
    -- A JSON array of capability names.
    capabilities TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE bindings (
    id TEXT PRIMARY KEY,
    identity_id TEXT NOT NULL REFERENCES identities (id),
    role TEXT NOT NULL,
    resource_kind TEXT NOT NULL CHECK (resource_kind IN ('group', 'repository')),
    path TEXT NOT NULL,
    -- A JSON array, in a fixed order; empty for none.
    conditions TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    UNIQUE (identity_id, path, resource_kind, role, conditions)
) STRICT;
CREATE INDEX bindings_by_path ON bindings (path, id);
CREATE INDEX bindings_by_role ON bindings (role);
CREATE INDEX bindings_by_condition ON bindings (identity_id, conditions) WHERE conditions <> '[]';

-- What a pull token has beyond its identity and bindings.
CREATE TABLE pull_tokens (
    identity_id TEXT PRIMARY KEY REFERENCES identities (id),
    -- The identity gives its name up when the token is revoked, so that another can have it.
    name TEXT NOT NULL,
    -- SHA-256 of the 32 random bytes of the secret.
    secret_hash BLOB NOT NULL,
    -- The secret before the last rotation, while it is good.
    previous_hash BLOB,
    previous_until INTEGER,
    -- A JSON array of CIDR networks; empty for everywhere.
    networks TEXT NOT NULL,
    last_used_from TEXT,
    revoked_at INTEGER
) STRICT;

-- Logins with a refresh token. The token is recomputed from its session and generation, so there is nothing of it here.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    -- `login` rotates with each use; `client` is what `/token` gives to docker, and does not.
    kind TEXT NOT NULL CHECK (kind IN ('login', 'client')),
    -- Who logged in: a JSON object of issuer, subject and claims.
    act TEXT NOT NULL,
    -- A JSON array of identity ids.
    identities TEXT NOT NULL,
    -- A JSON object; what every token of the session is narrowed to.
    narrowing TEXT NOT NULL,
    -- For `client`: the credential it came of, `session:<id>` or `pull-token:<id>`, which ends it when revoked.
    credential TEXT,
    -- The revision of the permissions that it was begun under.
    revision INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    -- When the current generation began.
    rotated_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX sessions_by_holder ON sessions (act ->> 'iss', act ->> 'sub', expires_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_credential ON sessions (credential) WHERE credential IS NOT NULL AND ended_at IS NULL;

-- Removed once no token can be older than the revision.
CREATE TABLE watermarks (
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('token', 'credential', 'identity', 'prefix')),
    subject TEXT NOT NULL,
    revision INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (subject_kind, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX watermarks_by_revision ON watermarks (revision);
CREATE INDEX watermarks_by_expiry ON watermarks (expires_at);

-- Audit events, written with the change that they tell of.
CREATE TABLE outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    event BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    leased_until INTEGER NOT NULL,
    attempts INTEGER NOT NULL
) STRICT;
