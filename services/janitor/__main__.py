"""`python -m services.janitor`; with --dry-run it prints what it would do, and why, and exits."""

import argparse
import asyncio
import sys

from services.janitor.app import SERVICE, main
from services.janitor.dry_run import report
from services.janitor.settings import JanitorSettings
from shared import service
from shared.errors import LekhikaError
from shared.settings import load


def run() -> None:
    parser = argparse.ArgumentParser(prog="python -m services.janitor", description=__doc__)
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be done, and why; touch nothing"
    )
    parser.add_argument("--json", action="store_true", help="with --dry-run: one JSON object a line")
    arguments = parser.parse_args()
    if not arguments.dry_run:
        service.run(SERVICE, JanitorSettings, main)
    try:
        asyncio.run(report(load(JanitorSettings), as_json=arguments.json))
    except LekhikaError as error:
        sys.exit(f"janitor: {error}")


if __name__ == "__main__":
    run()
