"""The table of permissions as NATS configuration."""

import json
from collections.abc import Mapping, Sequence

from deploy.nats.permissions import ACCESS, Access


def password_variable(user: str) -> str:
    """The variable from which a server of a cluster reads a user's password."""
    return f"LEKHIKA_NATS_PASSWORD_{user.upper()}"


def authorization(passwords: Mapping[str, str] | None = None) -> str:
    """The block `authorization` with all users; without passwords it refers to the server's environment."""
    users = "\n".join(
        _user(
            name, access, f"${password_variable(name)}" if passwords is None else json.dumps(passwords[name])
        )
        for name, access in ACCESS.items()
    )
    return f"authorization {{\n  users: [\n{users}\n  ]\n}}\n"


def _user(name: str, access: Access, password: str) -> str:
    lines = [f"user: {name}", f"password: {password}", "permissions: {"]
    if access.publish is not None or access.never_publish:
        lines += _rules("publish", access.publish, access.never_publish)
    if access.subscribe is not None:
        lines += _rules("subscribe", access.subscribe)
    if access.answers:
        lines.append('  allow_responses: { max: 1, expires: "1m" }')
    lines.append("}")
    return "\n".join(["    {", *(f"      {line}" for line in lines), "    }"])


def _rules(what: str, allow: Sequence[str] | None, deny: Sequence[str] = ()) -> list[str]:
    lines = [f"  {what}: {{"]
    for name, subjects in (("allow", allow or ()), ("deny", deny)):
        if subjects:
            lines += [f"    {name}: [", *(f"      {json.dumps(subject)}" for subject in subjects), "    ]"]
    return [*lines, "  }"]
