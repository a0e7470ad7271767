"""Passwords of the services' logins, from the environment. Every upgrade sets them: they can be rotated."""

from collections.abc import Mapping

from psycopg import sql
from sqlalchemy import Connection

LOGINS = {
    "lekhika_gateway": "LEKHIKA_DB_PASSWORD_GATEWAY",
    "lekhika_analytics": "LEKHIKA_DB_PASSWORD_ANALYTICS",
    "lekhika_janitor": "LEKHIKA_DB_PASSWORD_JANITOR",
}


def set_passwords(connection: Connection, environment: Mapping[str, str]) -> list[str]:
    """Sets those that are given; returns the names of their logins."""
    given = {login: environment[name] for login, name in LOGINS.items() if environment.get(name)}
    driver = connection.connection.driver_connection
    assert driver is not None
    for login, password in given.items():
        # Encrypted here, so that the password itself can get into no log of the server's statements.
        secret = driver.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
        connection.exec_driver_sql(
            sql.SQL("ALTER ROLE {} PASSWORD {}")
            .format(sql.Identifier(login), sql.Literal(secret.decode()))
            .as_string(driver)
        )
    return list(given)
