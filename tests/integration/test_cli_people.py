"""`lekhika admin create-user|create-key`: how the first superadmin comes, with nothing but the database's password; and
`keys|revoke-key` of others, by the gateway.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from shared.ids import new_id
from tests.support.cli import Commands, commands
from tests.support.gateway import Database, Gateway, Person
from tests.support.identity import PASSWORD


@pytest.fixture(scope="module")
def lekhika() -> Iterator[Commands]:
    with commands() as running:
        yield running


async def test_the_first_superadmin_logs_in_and_the_key_is_good(
    lekhika: Commands, gateway: Gateway, database: Database
) -> None:
    email = f"{new_id()}@example.org"
    who = ("--email", email.upper(), "--name", "First", "--role", "superadmin", "--password-stdin", "--json")
    made = await lekhika.run("admin", "create-user", *who, given=f"{PASSWORD}\n", DATABASE_URL=database.url)
    assert made.exit_code == 0, made.stdout + made.stderr
    user = json.loads(made.stdout)
    assert (user["email"], user["role"]) == (email, "superadmin")
    key = await lekhika.run(
        "admin",
        "create-key",
        "--user",
        email,
        "--name",
        "laptop",
        "--scope",
        "admin",
        DATABASE_URL=database.url,
    )
    async with gateway.client() as client:
        session = await client.post("/v1/session", json={"email": email, "password": PASSWORD})
        assert session.status_code == 200
    async with gateway.client(Person("", key.stdout.strip())) as client:
        assert (await client.get("/v1/admin/users")).status_code == 200
        assert (await client.get("/v1/executions")).json()["scope"] == "executions:read"
    with psycopg.connect(database.server.url) as connection:
        query = (
            "select action, audit::text from audit where actor = 'operator' and concat(target, details) ~ %s"
            " order by at"
        )
        acts = connection.execute(query, [user["user_id"]]).fetchall()
    assert [action for action, _ in acts] == ["users.create", "keys.create"]
    assert not any(written in act for _, act in acts for written in (email, "First", "laptop")), (
        "an erasure can not take it back"
    )
    assert PASSWORD not in made.stdout + made.stderr
    again = await lekhika.run(
        "admin", "create-user", "--email", email, "--name", "Twin", DATABASE_URL=database.url
    )
    assert again.exit_code == 1
    assert "already" in again.refused


@pytest.mark.parametrize(
    ("arguments", "given", "says"),
    [
        (("create-user", "--email", "nobody", "--name", "x"), "", "--email"),
        (("create-user", "--email", "a@b.c", "--name", ""), "", "--name"),
        (
            ("create-user", "--email", "a@b.c", "--name", "x", "--password-stdin"),
            "short\n",
            "--password-stdin",
        ),
        (("create-user", "--email", "a@b.c", "--name", "x", "--role", "owner"), "", "--role"),
        (("create-key", "--user", "a@b.c", "--scope", "nope"), "", "--scope"),
    ],
)
async def test_wrong_usage_names_the_option(
    lekhika: Commands, database: Database, arguments: tuple[str, ...], given: str, says: str
) -> None:
    result = await lekhika.run("admin", *arguments, given=given, DATABASE_URL=database.url)
    assert result.exit_code == 2
    assert says in (result.stdout + result.stderr)
    assert "short" not in (result.stdout + result.stderr).replace("shortest", "")


async def test_a_key_needs_somebody(lekhika: Commands, database: Database) -> None:
    result = await lekhika.run(
        "admin", "create-key", "--user", "nobody@example.org", DATABASE_URL=database.url
    )
    assert (result.exit_code, result.refused) == (1, "there is no user nobody@example.org")


async def test_a_superadmin_lists_and_revokes_somebody_s_keys(
    lekhika: Commands, gateway: Gateway, database: Database, person: Person
) -> None:
    given = {"LEKHIKA_URL": gateway.url, "LEKHIKA_API_KEY": database.people["root"].key}
    email = f"uma-{person.user_id}@example.org"
    listed = await lekhika.run("admin", "keys", email.upper(), "--json", **given)
    assert listed.exit_code == 0, listed.stdout + listed.stderr
    (key,) = json.loads(listed.stdout)["items"]
    table = await lekhika.run("admin", "keys", person.user_id, **given)
    assert key["id"] in table.stdout
    done = await lekhika.run("admin", "revoke-key", email, key["id"], "--reason", "lost", **given)
    assert (done.exit_code, done.stdout.strip()) == (0, f"{key['id']}: revoked")
    async with gateway.client(person) as client:
        assert (await client.get("/v1/me")).status_code == 401
    for arguments, says in (
        (("keys", "nobody@example.org"), "there is no user nobody@example.org"),
        (("revoke-key", person.user_id, new_id()), "No such key"),
    ):
        refused = await lekhika.run("admin", *arguments, **given)
        assert refused.exit_code == 1
        assert says in refused.refused


async def test_without_a_database_it_says_where_one_would_be_found(lekhika: Commands, tmp_path: Path) -> None:
    result = await lekhika.run(
        "admin", "create-key", "--user", "x@y.z", "--home", str(tmp_path), DATABASE_URL=""
    )
    assert result.exit_code == 1
    assert "DATABASE_URL" in result.refused
