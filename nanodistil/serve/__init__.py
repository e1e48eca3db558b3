"""A model behind a port: `nanodistil serve`. HTTP in, the pipelines' answers out, to the last bit.

    door.py        every request comes in here: key, limits, request id; errors as clients of each kind read them
    routes.py      which path is answered by whom: tei.py, openai.py, inference.py (huggingface_hub's), about.py
    asking.py      inputs -> prepare -> rows -> the engine -> finish -> answers
    engine.py      who computes, one thread or two; queue.py: which rows it takes next, whoever asked for them
    served.py      a model under its name, and the pipelines its head allows; probing.py, whether it can be trusted
    admission.py   what is held for all requests together, and when that is enough; limits.py, the figures
    body.py, fields.py, problems.py   a request's JSON, its fields, what is wrong with it
    metrics.py, journal.py            what is counted and what is written down, never a text
    description.py, page.html         the same in OpenAPI, and for trying in a browser
    listening.py, patience.py         uvicorn: sockets, signals, connections that say nothing

What it stands on: a row's result depends on that row alone (pipelines/base.py), and a batch has no padding, so its cost
is its number of tokens. Hence rows of all callers are put together up to a number of tokens, nobody waits for a batch
to fill, and an answer is bitwise what it is alone. Memory is bounded before a request is read, not after: past a
limit there is 429, with Retry-After.

Starlette, uvicorn and prometheus-client are the extra `[serve]`; nothing here is imported by anything but the verb.
"""
