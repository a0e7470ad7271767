"""Users and keys. `lekhika admin create-user|create-key` write to the database without a gateway; `keys|revoke-key` ask one."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.local import render
from deploy.local.client import Client
from deploy.local.home import Home, holder, read_json
from deploy.local.options import HOME, HomeOption, JsonOption, open_client, print_json
from deploy.local.processes import StackError
from deploy.local.program import program_name
from services.gateway.person_fields import Email, Name, Password, PersonRole
from services.gateway.scopes import Scope
from shared.errors import Permanent
from shared.field_words import told


class _NewUser(BaseModel):
    """The rules of the gateway's own call."""

    model_config = ConfigDict(hide_input_in_errors=True)

    email: Email
    name: Name
    password: Password | None = None


def register(app: typer.Typer) -> None:
    app.command("create-user")(create_user)
    app.command("create-key")(create_key)
    app.command("keys")(keys)
    app.command("revoke-key")(revoke_key)


def create_user(
    email: Annotated[str, typer.Option(help="Address to log in with.")],
    name: Annotated[str, typer.Option(help="Shown in the console.")],
    role: Annotated[PersonRole, typer.Option(help="What the user may do.")] = PersonRole.USER,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read a password, one line, for the console.")
    ] = False,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Create a user in the database of DATABASE_URL, else of the local stack; also the first superadmin."""
    from services.gateway import first_people

    given = {"password": sys.stdin.readline().rstrip("\r\n")} if password_stdin else {}
    wanted = _checked({"email": email, "name": name, **given})
    user_id = asyncio.run(
        first_people.create_user(
            database_url(home),
            email=wanted.email,
            name=wanted.name,
            role=role.value,
            password=wanted.password,
        )
    )
    if as_json:
        print_json(
            {"user_id": user_id, "email": wanted.email.lower(), "name": wanted.name, "role": role.value}
        )
    else:
        print(f"{user_id}  {role.value}  {wanted.email.lower()}")


def create_key(
    user: Annotated[str, typer.Option(metavar="EMAIL|ID", help="Whose key it is.")],
    name: Annotated[str, typer.Option(help="To tell it from others.")] = "made by an operator",
    scope: Annotated[
        list[Scope] | None, typer.Option(help="May be repeated; without it, all of the role.")
    ] = None,
    expires_days: Annotated[
        float | None, typer.Option(metavar="DAYS", min=0.0001, max=36_500, help="Without it, never.")
    ] = None,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Create an API key in the database of DATABASE_URL, else of the local stack. It is printed this once."""
    from services.gateway import first_people

    expires_at = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
    made = asyncio.run(
        first_people.create_key(
            database_url(home), user=user, name=name, scopes=scope or [], expires_at=expires_at
        )
    )
    print_json(asdict(made)) if as_json else print(made.key)


UserArgument = Annotated[str, typer.Argument(metavar="EMAIL|ID", help="Whose they are.")]


def keys(user: UserArgument, home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """List a user's API keys, newest first; revoked ones are left out."""
    with open_client(home, as_admin=True) as client:
        found = client.get(f"/v1/admin/users/{_user_id(client, user)}/keys")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            item["id"],
            item["name"],
            f"{item['prefix']}...",
            ", ".join(item["scopes"]) or "all",
            *(render.moment(item[at]) or "never" for at in ("last_used_at", "expires_at")),
        )
        for item in found["items"]
    ]
    columns = ("id", "name", "key", "scopes", "last used", "expires")
    render.console().print(render.table(columns, rows))


def revoke_key(
    user: UserArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key.")],
    reason: Annotated[str | None, typer.Option(help="Why; kept in the audit.")] = None,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Revoke a user's API key, at once and everywhere."""
    with open_client(home, as_admin=True) as client:
        user_id = _user_id(client, user)
        client.delete(f"/v1/admin/users/{user_id}/keys/{key}", reason=reason)
    print_json({"user_id": user_id, "key_id": key}) if as_json else print(f"{key}: revoked")


def _user_id(client: Client, user: str) -> str:
    """Of an id or an email address. Raises: Permanent, when nobody has the address."""
    if "@" not in user:
        return user
    pages = client.pages("/v1/admin/users", email=user, limit=100)
    people = (person for page in pages for person in page["items"])
    found = next((person["id"] for person in people if person["email"] == user.lower()), None)
    if found is None:
        raise Permanent(f"there is no user {user}")
    return str(found)


def database_url(home: Path) -> str:
    """Raises: StackError, when no database is named and no stack is up."""
    given = os.environ.get("DATABASE_URL")
    if given:
        return given
    stack = Home(home.resolve())
    if holder(stack) is None or not stack.stack.exists():
        raise StackError(
            f"No stack is ready in {stack.path}. Start one with `{program_name()} up`, name its home with --home, "
            "or set DATABASE_URL."
        )
    return str(read_json(stack.stack)["database_url"])


def _checked(values: dict[str, Any]) -> _NewUser:
    """Raises: BadParameter, which names the option."""
    try:
        return _NewUser.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        option = {"password": "--password-stdin"}.get(str(fault["loc"][0]), f"--{fault['loc'][0]}")
        raise typer.BadParameter(told(fault), param_hint=option) from None
