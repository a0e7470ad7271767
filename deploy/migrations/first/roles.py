"""Roles. A login can do nothing by itself but take one of its working roles, for one transaction.

Roles belong to the whole server, not to one database, so they may exist already and are left behind by a
downgrade. Passwords are no part of a revision: `deploy.migrations.passwords` sets them.
"""

ROLES = """
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['lekhika_user', 'lekhika_auth', 'lekhika_projector', 'lekhika_admin']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', name);
        END IF;
    END LOOP;
    FOREACH name IN ARRAY ARRAY['lekhika_gateway', 'lekhika_analytics', 'lekhika_janitor']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', name);
        END IF;
    END LOOP;
END $$;

GRANT lekhika_user, lekhika_auth, lekhika_projector, lekhika_admin TO lekhika_gateway;
"""
