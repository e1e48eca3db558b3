"""A function that a cloud calls: a request of its gateway in, an answer out, in the Inference API's form.

    {"inputs": "Hello I'm a [MASK] model.", "parameters": {"top_k": 3}}

The model is loaded when the process begins, and stays for the requests that follow. NANODISTIL_MODEL and
NANODISTIL_TASK say which (default: the one inside the package, fill-mask). As an archive, with NumPy alone:

    pip install --target function --no-deps nanodistil && pip install --target function numpy safetensors regex
    cp serverless.py function/ && (cd function && zip -qr ../function.zip .)          # handler: serverless.handler

That is 137 MB unpacked with the embedded models (74 zipped) of the 250 that are allowed; it begins in 0.3 s and
answers in 0.1. With Numba it is 351 MB, so an image, on the base of Containerfile, with the kernels compiled into it.
"""

import base64
import json
import os

from nanodistil import NanoDistilError, pipeline

answer = pipeline(os.environ.get("NANODISTIL_TASK", "fill-mask"), os.environ.get("NANODISTIL_MODEL", "nanodistil-mini"))
MOST = 100_000  # characters of a request's body


def handler(event, context=None):
    """An event with a `body` (API Gateway, a function's URL) or a request itself -> status and body, or answers."""
    if not isinstance(event, dict) or "body" not in event:
        return _answered(event)
    body = event["body"] or ""
    try:
        if len(body) > MOST:
            return _response(413, {"error": f"the body has more than {MOST} characters; send fewer texts at once"})
        if event.get("isBase64Encoded"):
            body = base64.b64decode(body).decode()
        return _response(200, _answered(json.loads(body)))
    except (NanoDistilError, TypeError, ValueError) as error:
        return _response(422, {"error": str(error)})


def _answered(request):
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), (str, list, dict)):
        raise ValueError('a request is {"inputs": a text or a list of them, "parameters": {...}}')
    parameters = request.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ValueError("parameters must be an object")
    return answer(request["inputs"], **parameters)


def _response(status, value):
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(value)}
