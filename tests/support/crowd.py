"""Many users of one stack, of whom each has a key, and some share a partition of `later`."""

import hashlib
import itertools
from collections.abc import Iterable

import psycopg

from shared import subjects
from shared.ids import new_id
from tests.support.gateway import Person


def members(partition: int, count: int, *, inside: bool = True) -> list[Person]:
    """People whose waiting requests lie in that partition; or in any other."""
    ids = (key for key in iter(new_id, None) if (subjects.partition_of(key) == partition) is inside)
    return [Person(key, f"lk_{new_id()}") for key in itertools.islice(ids, count)]


async def enrol(database_url: str, people: Iterable[Person]) -> None:
    """As users of the stack; `database_url` is of the owner."""
    users = [(each.user_id, f"{each.user_id}@example.org", "one of many") for each in people]
    keys = [
        (new_id(), each.user_id, each.key[:8], hashlib.sha256(each.key.encode()).digest()) for each in people
    ]
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = connection.cursor()
        await cursor.executemany(
            "INSERT INTO users (id, email, display_name, role) VALUES (%s, %s, %s, 'user')", users
        )
        await cursor.executemany(
            "INSERT INTO api_keys (id, user_id, prefix, digest, name) VALUES (%s, %s, %s, %s, 'crowd')", keys
        )
