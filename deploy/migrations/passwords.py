"""Passwords of the services' logins, from the environment. Every upgrade sets them: they can be rotated."""

from collections.abc import Mapping
from typing import Any

import psycopg
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
    assert isinstance(driver, psycopg.Connection)
    for login, password in given.items():
        connection.exec_driver_sql(
            sql.SQL("ALTER ROLE {} PASSWORD {}")
            .format(sql.Identifier(login), encrypted(driver, login, password))
            .as_string(driver)
        )
    return list(given)


def encrypted(connection: psycopg.Connection[Any], login: str, password: str) -> sql.Literal:
    """Here, so that the password itself can get into no log of the server's statements."""
    secret = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
    return sql.Literal(secret.decode())
