"""The output of an execution as an answer: as text, as JSON, or as a file."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request, Response

from services.gateway.auth import Principal
from services.gateway.downloads.form import Form
from services.gateway.downloads.markdown import title_of
from services.gateway.downloads.naming import attachment, file_name
from services.gateway.downloads.source import Source, author_of, language_of
from services.gateway.output import Output, output_json, output_of
from services.gateway.parts import Parts
from services.gateway.problems import Problem
from services.gateway.unless_left import unless_left
from services.gateway.wanted_form import Wish
from shared.execution import ExecutionState, Status

_DATA = (Form.TXT, Form.MD, Form.JSON)
"""What JSON can be had as: nothing is made of it."""
_NOTES = {
    Status.STOPPED: "This text is not complete: the run was stopped before its end.",
    Status.FAILED: "This text is not complete: the run failed before its end.",
}
_NOTE = "This text is not complete: the run had not ended when it was downloaded."


async def output_answer(
    request: Request, parts: Parts, principal: Principal, state: ExecutionState, wish: Wish
) -> Response:
    """Raises: Problem, when no form of this output is wanted or none can be made; ArtifactGone; UnknownEvent; Unavailable."""
    body = await parts.bodies.of(state.body)
    output = await output_of(parts, state, body.workflow)
    forms = _DATA if output.data else tuple(Form)
    form = wish.among(forms)
    as_file = wish.name is not None or form in (Form.HTML, Form.EPUB, Form.DOCX)
    if as_file and not output.text:
        raise _nothing_written(state)
    headers = {
        "Cache-Control": "no-store",
        "X-Lekhika-Partial": "true" if output.partial else "false",
        "X-Lekhika-Formats": ", ".join(forms),
        "Vary": "Accept",
    }
    if as_file:
        title = state.engine.name if output.data else title_of(output.text, state.engine.name)
        headers["Content-Disposition"] = attachment(file_name(title, form, partial=output.partial))
    match form:
        case Form.JSON:
            content = orjson.dumps(output_json(state, output))
        case Form.TXT | Form.MD:
            content = output.text.encode()
        case Form.HTML | Form.EPUB | Form.DOCX:
            making = parts.conversions.make(_source(state, output, body.input), form, principal.user_id)
            content = await unless_left(request, making)
    kind = form.media_type if form is Form.JSON else _with_charset(form)
    return Response(content, 200, headers, kind)


def _nothing_written(state: ExecutionState) -> Problem:
    words = "It has written nothing" + (", so there is no file of it." if state.ended else " yet.")
    return Problem(409, "nothing_written", "There is nothing to download", words)


def _with_charset(form: Form) -> str:
    kind = form.media_type
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


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
