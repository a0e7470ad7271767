"""The output of an execution as an answer: as text, as JSON, or as a file."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Response

from services.gateway.downloads.form import Form
from services.gateway.downloads.markdown import title_of
from services.gateway.downloads.naming import attachment, file_name
from services.gateway.downloads.source import Source, author_of, language_of
from services.gateway.output import Output, output_json, output_of
from services.gateway.parts import Parts
from services.gateway.wanted_form import not_acceptable
from shared.execution import ExecutionState, Status

_DATA = (Form.JSON, Form.TXT)
"""What JSON can be had as."""
_NOTES = {
    Status.STOPPED: "This text is not complete: the run was stopped before its end.",
    Status.FAILED: "This text is not complete: the run failed before its end.",
}
_NOTE = "This text is not complete: the run had not ended when it was downloaded."


async def output_answer(parts: Parts, state: ExecutionState, form: Form, *, as_file: bool) -> Response:
    """Raises: Problem, when there is no such form of this output; ArtifactGone; UnknownEvent; Unavailable."""
    body = await parts.bodies.of(state.body)
    output = await output_of(parts, state, body.workflow)
    headers = {
        "Cache-Control": "no-store",
        "X-Lekhika-Partial": "true" if output.partial else "false",
        "X-Lekhika-Formats": ", ".join(_DATA if output.data else Form),
        "Vary": "Accept",
    }
    source = _source(state, output, body.input)
    if as_file or form in (Form.HTML, Form.EPUB, Form.DOCX):
        title = state.engine.name if output.data else title_of(output.text, state.engine.name)
        headers["Content-Disposition"] = attachment(file_name(title, form, partial=output.partial))
    match form:
        case Form.JSON:
            content = orjson.dumps(output_json(state, output))
        case Form.TXT | Form.MD:
            content = output.text.encode()
        case Form.HTML | Form.EPUB | Form.DOCX:
            _check(output, form)
            content = await parts.conversions.make(source, form)
    kind = form.media_type if form is Form.JSON else _with_charset(form)
    return Response(content, 200, headers, kind)


def _with_charset(form: Form) -> str:
    kind = form.media_type
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _check(output: Output, form: Form) -> None:
    if output.data:
        raise not_acceptable(
            f"The output of this execution is JSON, of which no {form.upper()} is made. "
            f"It is there as {' and '.join(_DATA)}."
        )


def _source(state: ExecutionState, output: Output, inputs: Mapping[str, Any]) -> Source:
    return Source(
        id=state.id,
        text=output.text,
        fallback_title=state.engine.name,
        author=author_of(inputs),
        language=language_of(inputs),
        note=_NOTES.get(state.status, _NOTE) if output.partial else None,
        written=state.ended_at or state.last_at,
    )
