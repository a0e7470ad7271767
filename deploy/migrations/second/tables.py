"""Tables and columns that are new. Every engine that is there already gets its version.

Until the end of the revision the owner of the tables sees all rows of those that exist already.
"""

TABLES = """
ALTER TABLE engines NO FORCE ROW LEVEL SECURITY;
ALTER TABLE models NO FORCE ROW LEVEL SECURITY;

CREATE TABLE engine_versions (
    owner_id   uuid NOT NULL,
    id         text NOT NULL,
    version    integer NOT NULL CHECK (version > 0),
    definition json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid NOT NULL REFERENCES users,
    PRIMARY KEY (owner_id, id, version),
    FOREIGN KEY (owner_id, id) REFERENCES engines ON DELETE CASCADE
);
COMMENT ON TABLE engine_versions IS
    'What was published, one row for each version, never changed. The newest is also in engines, from where it is run';

INSERT INTO engine_versions (owner_id, id, version, definition, created_at, created_by)
SELECT owner_id, id, version, definition, updated_at, owner_id FROM engines;

CREATE TABLE engine_drafts (
    owner_id   uuid NOT NULL REFERENCES users,
    id         text NOT NULL,
    definition json NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, id)
);
COMMENT ON TABLE engine_drafts IS
    'What an author works on, beside what is published or before anything is. A table of its own, so that sharing an '
    'engine shows nobody its draft';

ALTER TABLE models
    ADD COLUMN provider text NOT NULL GENERATED ALWAYS AS
        (CASE WHEN strpos(name, '/') > 0 THEN split_part(name, '/', 1) ELSE 'gemini' END) STORED,
    ADD COLUMN unlisted_at timestamptz;
COMMENT ON COLUMN models.provider IS 'The part of the name before its first slash; without a slash, gemini';
COMMENT ON COLUMN models.unlisted_at IS 'Since when the provider''s list has not had it any more';
"""

DROP = """
DROP TABLE engine_drafts, engine_versions;
ALTER TABLE models DROP COLUMN provider, DROP COLUMN unlisted_at;
"""
