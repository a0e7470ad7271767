"""`python -m deploy.migrations upgrade|downgrade|current [REVISION]`, on the database of DATABASE_URL."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import OperationalError

from deploy.migrations.passwords import set_passwords
from shared.db import driver_url


def config_for(connection: Connection) -> Config:
    config = Config(stdout=sys.stdout)
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def run(action: str, url: str, environment: Mapping[str, str], revision: str | None = None) -> None:
    """Raises: sqlalchemy's OperationalError, when the database can not be reached."""
    engine = create_engine(driver_url(url), connect_args={"connect_timeout": 10})
    try:
        with engine.connect() as connection:
            config = config_for(connection)
            match action:
                case "upgrade":
                    command.upgrade(config, revision or "head")
                    connection.commit()
                    for login in set_passwords(connection, environment):
                        print(f"password set for {login}")
                case "downgrade":
                    command.downgrade(config, revision or "-1")
                case _:
                    command.current(config)
            connection.commit()
    finally:
        engine.dispose()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.migrations", description=__doc__)
    parser.add_argument("action", choices=("upgrade", "downgrade", "current"))
    parser.add_argument("revision", nargs="?", help="unless given: upgrade to the newest, downgrade by one")
    arguments = parser.parse_args()
    url = os.environ.get("DATABASE_URL")
    if not url:
        print("set DATABASE_URL to the database to migrate", file=sys.stderr)
        return 2
    try:
        run(arguments.action, url, os.environ, arguments.revision)
    except OperationalError as error:
        print(f"the database can not be reached: {error.orig}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
