"""GET /page?text=...&model=...: a model's inside on a text, drawn by nanodistil.page, as a file for the browser.

It takes some two hundred runs of the model, in which others wait; so a text has MOST tokens at most, a second or two of
work, and counts in the queue as a whole batch. `nanodistil page` takes longer ones.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from starlette.responses import HTMLResponse, Response

from nanodistil.serve.admission import Held
from nanodistil.serve.call import Call
from nanodistil.serve.engine import Alone
from nanodistil.serve.problems import of, too_large, unusable
from nanodistil.serve.site import Site
from nanodistil.weights.errors import InputError, NanoDistilError

TASKS = ("fill-mask", "text-classification", "token-classification", "text-generation")
MOST = 64  # tokens
LETTERS = 4_000  # of so few tokens; more are not tokenized
# Not a page of this server's, but a file that shows a stranger's text: it may run its script, and is nobody here.
HEADERS = {"content-security-policy": "sandbox allow-scripts", "x-content-type-options": "nosniff"}


async def inside(site: Site, call: Call) -> Response:
    """Raises Problem: 422 without a text or for one that cannot be asked about, 413 for a long one, 424 if none can."""
    served = site.asked_for(call, *TASKS)
    text = call.query.get("text", [""])[0]
    if not text:
        raise unusable("a text is needed: /page?text=...", "text")
    if len(text) > LETTERS:
        raise too_large(f"a page is of {LETTERS} characters at most")
    try:
        tokens = len(served.tokenizer(text, verbose=False)["input_ids"])
        if tokens > MOST:
            raise too_large(f"the text has {tokens} tokens, and a page {MOST} at most; nanodistil page takes more")
        call.held = Held(site.load)
        call.inputs, call.tokens = 1, tokens
        call.held.more_tokens(site.limits.batch_tokens)
        work = Alone(partial(_drawn, served.model, served.tokenizer, text, served.name), site.limits.batch_tokens)
        ((found, wrong),) = await site.asking.computed(call, None, [work])
        if wrong:
            raise wrong
    except NanoDistilError as error:
        raise of(error) from None
    return HTMLResponse(found, headers=HEADERS)


def _drawn(model: Any, tokenizer: Any, text: str, name: str) -> tuple[str, InputError | None]:
    """The page; or what is wrong with the text, told and not raised, since it is no fault of the engine's."""
    from nanodistil.page.drawing import drawn
    from nanodistil.page.findings import findings

    try:
        return drawn(*findings(model, tokenizer, text, name)), None
    except InputError as error:
        return "", error
