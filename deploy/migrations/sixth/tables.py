"""The table of erasures, and a trigger that keeps the audit as it was written, also from the table's owner."""

TABLES = """
CREATE TABLE erasures (
    user_id      uuid PRIMARY KEY REFERENCES users,
    requested_by text NOT NULL,
    reason       text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE erasures IS
    'Whose executions go whatever their age and whether they are kept. Done when the read model has none of them';

CREATE INDEX audit_of_actor ON audit (actor, at DESC, id DESC);
CREATE INDEX audit_of_target ON audit (target, at DESC, id DESC);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are added and never changed', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

DROP = """
DROP TRIGGER append_only ON audit;
DROP FUNCTION refuse_change();
DROP INDEX audit_of_actor, audit_of_target;
DROP TABLE erasures;
"""
