"""Tables and columns that are new, and what goes with them on the way back."""

TABLES = """
ALTER TABLE users ADD COLUMN disabled_at timestamptz;
COMMENT ON COLUMN users.disabled_at IS 'Since when none of the person''s keys, sessions and tokens is taken';

CREATE TABLE user_passwords (
    user_id    uuid PRIMARY KEY REFERENCES users,
    digest     text NOT NULL CHECK (digest LIKE '$argon2id$%'),
    changed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE user_passwords IS
    'A table of its own, so that whoever may read people can not read what their passwords are checked with';

CREATE TABLE user_identities (
    issuer     text NOT NULL,
    subject    text NOT NULL,
    user_id    uuid NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX user_identities_user ON user_identities (user_id);
COMMENT ON TABLE user_identities IS 'Who somebody is at an identity provider';
"""

DROP = """
DROP TABLE user_identities, user_passwords;
ALTER TABLE users DROP COLUMN disabled_at;
"""
