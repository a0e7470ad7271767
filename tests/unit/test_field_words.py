"""What is wrong with a field of a request is said in our words, wherever pydantic has found it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import httpx
import pytest
from fastapi import FastAPI, Query
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from services.gateway import problems
from services.gateway.bodies import parsed
from shared.field_words import told
from shared.validation import InvalidDefinition, validate_engine


class By(StrEnum):
    HOUR = "hour"
    DAY = "day"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=2000)] = "x"
    words: list[str] = Field(default=[], max_length=2)

    @field_validator("name")
    @classmethod
    def not_admin(cls, name: str) -> str:
        if name == "admin":
            raise ValueError("can not be admin")
        return name


def fault(kind: Any, given: object) -> str:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(given)
    return told(refused.value.errors()[0])


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (Body, {"name": 1}, "must be a text"),
        (Body, {"name": ""}, "must not be empty"),
        (Body, {"name": "x" * 2001}, "must have at most 2,000 characters"),
        (Body, {"name": "admin"}, "can not be admin"),
        (Body, {"nmae": "x"}, "is not known"),
        (Body, {"words": ["a", "b", "c"]}, "must have at most 2 entries"),
        (Body, [], "must be an object"),
        (By, "week", "must be one of 'hour' or 'day'"),
        (Literal["a", "b"], "c", "must be one of 'a' or 'b'"),
        (int, "many", "must be a whole number"),
        (Annotated[int, Field(le=2_147_483_647)], 2**40, "must be at most 2,147,483,647"),
        (Annotated[float, Field(ge=0.5)], 0.1, "must be at least 0.5"),
        (Annotated[str, Field(min_length=3)], "a", "must have at least 3 characters"),
        (Annotated[str, Field(pattern="^a$")], "b", "is not written as it must be"),
        (bool, "perhaps", "must be true or false"),
        (AwareDatetime, datetime(2026, 1, 1), "must be a time with its zone, such as 2026-01-31T12:00:00Z"),  # noqa: DTZ001
        (AwareDatetime, "soon", "must be a time with its zone, such as 2026-01-31T12:00:00Z"),
    ],
)
def test_a_fault_is_told_in_our_words(kind: Any, given: object, words: str) -> None:
    assert fault(kind, given) == words


async def test_so_is_a_parameter_that_the_framework_refuses() -> None:
    app = FastAPI()
    problems.install(app)

    @app.get("/")
    async def _(limit: Annotated[int, Query(ge=1, le=100)]) -> int:
        return limit

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answers = [
            (await client.get("/", params=query)).json() for query in ({"limit": 1000}, {"limit": "x"}, {})
        ]
    assert [answer["errors"][0] for answer in answers] == [
        {"field": "limit", "detail": "must be at most 100"},
        {"field": "limit", "detail": "must be a whole number"},
        {"field": "limit", "detail": "is required"},
    ]


def test_a_body_is_refused_in_the_same_words() -> None:
    with pytest.raises(problems.Problem) as refused:
        parsed(Body, {"name": "", "nmae": "x"})
    assert {(error.field, error.detail) for error in refused.value.errors} == {
        ("name", "must not be empty"),
        ("nmae", "is not known"),
    }


TASK = {"kind": "template", "template": "x"}


@pytest.mark.parametrize(
    ("node", "field", "place"),
    [
        ({"kind": "for_each", "items": "{{ [1] }}", "node": TASK, "temperature": 1}, "temperature", "`node`"),
        ({"kind": "repeat", "until": "{{ 1 }}", "times": 1, "node": TASK, "prompt": "x"}, "prompt", "`node`"),
        (
            {"kind": "branch", "cases": [{"when": "{{ 1 }}", "node": TASK}], "model": "m"},
            "model",
            "the `node` of a case",
        ),
    ],
)
def test_a_field_of_a_task_on_its_group_is_told_where_it_belongs(
    node: dict[str, Any], field: str, place: str
) -> None:
    definition = {"id": "mine", "name": "Mine", "nodes": [{"id": "parts", **node}], "output": "parts"}
    with pytest.raises(InvalidDefinition) as refused:
        validate_engine(definition, None)
    found = {problem.field: problem.detail for problem in refused.value.problems}
    assert found == {f"nodes.parts.{field}": f"is not a field that is known here; it belongs into {place}"}
