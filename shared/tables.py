"""The tables as the services see them. The migrations create them; a test compares the two.

Who may read or write which column and row is enforced by the database: `deploy.migrations.first.access`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy import DateTime as _DateTime
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB, UUID

SYSTEM_USER_ID = "00000000-0000-0000-0000-000000000000"
"""Owns the shared sample engines; nobody can log in as this one."""

metadata = MetaData()

_NOW = text("now()")
_ZERO = text("0")
_PROVIDER = (
    "CASE WHEN strpos(name, '/'::text) > 0 THEN split_part(name, '/'::text, 1) ELSE 'gemini'::text END"
)


def _time(name: str, *, null: bool = False, now: bool = False) -> Column[object]:
    return Column(name, _DateTime(timezone=True), nullable=null, server_default=_NOW if now else None)


def _text(name: str, *, null: bool = False, default: str | None = None) -> Column[str]:
    return Column(name, Text, nullable=null, server_default=None if default is None else text(f"'{default}'"))


def _id(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    """A UUID, as text in Python."""
    return Column(name, UUID(as_uuid=False), primary_key=key, nullable=null)


def _user_id(*, key: bool = False) -> Column[str]:
    return Column("user_id", UUID(as_uuid=False), ForeignKey("users.id"), primary_key=key, nullable=False)


def _json(name: str, *, null: bool = False, default: bool = False) -> Column[object]:
    return Column(name, JSONB, nullable=null, server_default=text("'{}'") if default else None)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=_ZERO)


def _token_columns() -> list[Column[int]]:
    return [_count(f"{kind}_tokens") for kind in ("input", "cached", "output", "thoughts", "tool")]


def _total_tokens() -> Column[int]:
    total = Computed("input_tokens + output_tokens + thoughts_tokens + tool_tokens", persisted=True)
    return Column("total_tokens", BigInteger, total, nullable=False)


users = Table(
    "users",
    metadata,
    _id("id", key=True),
    Column("email", Text, unique=True),
    _text("display_name"),
    _text("role", default="user"),
    _time("created_at", now=True),
    _time("anonymised_at", null=True),
    _time("disabled_at", null=True),
)

user_passwords = Table(
    "user_passwords", metadata, _user_id(key=True), _text("digest"), _time("changed_at", now=True)
)
"""`digest` is an argon2id hash with its own salt and parameters."""

user_identities = Table(
    "user_identities",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    _user_id(),
    _time("created_at", now=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id("id", key=True),
    _user_id(),
    _text("prefix"),
    Column("digest", LargeBinary, unique=True, nullable=False),
    _text("name"),
    Column("scopes", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    _time("created_at", now=True),
    _time("expires_at", null=True),
    _time("last_used_at", null=True),
    _time("revoked_at", null=True),
)
"""`prefix` is the first 8 characters of the key, which people see; `digest` its SHA-256."""

sessions = Table(
    "sessions",
    metadata,
    _id("id", key=True),
    _user_id(),
    Column("digest", LargeBinary, unique=True, nullable=False),
    _text("csrf"),
    _time("created_at", now=True),
    _time("expires_at"),
)

engines = Table(
    "engines",
    metadata,
    Column("owner_id", UUID(as_uuid=False), ForeignKey("users.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    _text("name"),
    _text("description", null=True),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("definition", JSON, nullable=False),  # keeps the order of keys
    Column("shared", Boolean, nullable=False, server_default=text("false")),
    _time("created_at", now=True),
    _time("updated_at", now=True),
)

engine_versions = Table(
    "engine_versions",
    metadata,
    Column("owner_id", UUID(as_uuid=False), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("definition", JSON, nullable=False),
    _time("created_at", now=True),
    Column("created_by", UUID(as_uuid=False), ForeignKey("users.id"), nullable=False),
    ForeignKeyConstraint(("owner_id", "id"), ("engines.owner_id", "engines.id"), ondelete="CASCADE"),
)

engine_drafts = Table(
    "engine_drafts",
    metadata,
    Column("owner_id", UUID(as_uuid=False), ForeignKey("users.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("definition", JSON, nullable=False),
    _time("updated_at", now=True),
)

models = Table(
    "models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("provider", Text, Computed(_PROVIDER, persisted=True), nullable=False),
    _text("tier"),
    _json("capabilities", default=True),
    Column("input_limit", Integer),
    Column("output_limit", Integer),
    _time("retired_at", null=True),
    Column("successor", Text, ForeignKey("models.name")),
    _time("unlisted_at", null=True),
)

model_prices = Table(
    "model_prices",
    metadata,
    Column("model", Text, primary_key=True),
    Column("service_tier", Text, primary_key=True, server_default=text("'standard'")),
    Column("token_kind", Text, primary_key=True),
    Column("threshold", Integer, primary_key=True, server_default=_ZERO),
    Column("valid_from", _DateTime(timezone=True), primary_key=True),
    Column("currency", Text, primary_key=True, server_default=text("'USD'")),
    Column("price_per_million", Numeric(12, 4), nullable=False),
    Column("version", BigInteger, Identity(always=True), unique=True, nullable=False),
)

executions = Table(
    "executions",
    metadata,
    _id("id", key=True),
    _id("user_id"),
    _text("engine_id"),
    _text("engine_name"),
    Column("engine_version", Integer, nullable=False),
    _text("status"),
    _text("kind"),
    _text("lane", null=True),
    _text("title", null=True),
    _time("created_at"),
    _time("started_at", null=True),
    _time("ended_at", null=True),
    Column("attempt", Integer, nullable=False, server_default=_ZERO),
    _text("worker", null=True),
    _json("stop", null=True),
    _json("error", null=True),
    *_token_columns(),
    _text("certainty", default="measured"),
    Column("kept", Boolean, nullable=False, server_default=text("false")),
    Column("last_seq", BigInteger, nullable=False),
    _time("updated_at", now=True),
)
"""The read model of lists. It has no reference to users: it shows what the log says."""

projector_positions = Table(
    "projector_positions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    _time("updated_at", now=True),
)

usage_ledger = Table(
    "usage_ledger",
    metadata,
    _id("execution_id", key=True),
    Column("line", SmallInteger, primary_key=True, autoincrement=False),
    _id("user_id"),
    _text("engine_id"),
    _text("engine_name"),
    _time("bucket"),
    _time("ended_at"),
    _text("event_id", null=True),
    _text("outcome", null=True),
    _text("kind", null=True),
    Column("attempts", Integer),
    _time("requested_at", null=True),
    _time("started_at", null=True),
    _text("model", null=True),
    _text("model_type", null=True),
    _text("certainty", null=True),
    Column("long_context", Boolean),
    _count("calls"),
    *_token_columns(),
    _total_tokens(),
    Column("cost", Numeric(20, 10)),
    Column("price_version", BigInteger),
    _time("counted_at", now=True),
)
"""Line 0 marks an execution as counted and says how it ended; lines from 1 hold one model's tokens each."""

user_analytics = Table(
    "user_analytics",
    metadata,
    _user_id(key=True),
    Column("analytics_type", Text, primary_key=True),
    Column("bucket", _DateTime(timezone=True), primary_key=True),
    Column(
        "date_hour",
        _DateTime(timezone=True),
        Computed("date_trunc('hour', bucket AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'", persisted=True),
        nullable=False,
    ),
    Column("engine_id", Text, primary_key=True),
    Column("engine_name", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("model_type", Text, primary_key=True),
    *(_count(f"{name}calls") for name in ("", "estimated_", "unknown_")),
    *_token_columns(),
    _total_tokens(),
    Column("total_cost", Numeric(20, 10), nullable=False, server_default=_ZERO),
    *map(_count, ("unpriced_tokens", "completed", "stopped", "failed", "duration_ms", "started")),
)
"""Sums of the ledger. Rows `execution` count endings and calls, rows `token_usage` tokens by model.

Certainty: `unknown` where unknown_calls > 0, else `estimated` where estimated_calls > 0. For totals take it
from the rows `execution`: they count all calls, the others only those that have tokens. By model, lines of the
ledger without tokens count too.
"""

usage_zones = Table(
    "usage_zones",
    metadata,
    _user_id(key=True),
    Column("timezone", Text, primary_key=True),
    Column("closed_until", _DateTime(timezone=True), nullable=False, server_default=text("'-infinity'")),
    _time("looked_at", now=True),
)
"""Zones in which a user's long ranges are looked at. What belongs to days before `closed_until` is in `usage_days`."""

usage_days = Table(
    "usage_days",
    metadata,
    Column("user_id", UUID(as_uuid=False), primary_key=True),
    Column("timezone", Text, primary_key=True),
    Column("start", _DateTime(timezone=True), primary_key=True),
    *(Column(name, JSON, nullable=False) for name in ("sums", "engines", "models", "kinds")),
    ForeignKeyConstraint(
        ("user_id", "timezone"), ("usage_zones.user_id", "usage_zones.timezone"), ondelete="CASCADE"
    ),
)
"""Usage of a day of a zone, without costs: all, and lists by engine, model and kind (`shared.usage_sums`)."""

usage_rejects = Table(
    "usage_rejects",
    metadata,
    Column("event_id", Text, primary_key=True),
    _text("execution_id"),
    Column("stream_seq", BigInteger, nullable=False),
    _time("ended_at"),
    _text("reason"),
    _text("detail"),
    Column("body", LargeBinary, nullable=False),
    _time("rejected_at", now=True),
)

audit = Table(
    "audit",
    metadata,
    _id("id", key=True),
    _time("at", now=True),
    _text("actor"),
    _text("action"),
    _text("target"),
    _text("reason", null=True),
    _json("details", default=True),
)
"""Give the id: writers may not read, so nothing can be returned to them."""

erasures = Table(
    "erasures",
    metadata,
    _user_id(key=True),
    _text("requested_by"),
    _text("reason"),
    _time("requested_at", now=True),
)
"""Whose executions go whatever their age; the janitor reads it."""
