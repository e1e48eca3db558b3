"""What stands in deploy/ and docs/serving.md is what the command takes: flags, paths, variables, limits."""

import argparse
import base64
import json
import re
import runpy
from pathlib import Path

import pytest

from nanodistil.cli.serve import KEY, add_arguments
from nanodistil.serve.limits import Limits
from nanodistil.serve.patience import MOST_CONNECTIONS
from nanodistil.serve.routes import TABLE

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
FILES = sorted((ROOT / "deploy").iterdir())
OTHERS = {
    "--rm",
    "--read-only",
    "--no-cache-dir",
    "--from",
    "--target",
    "--json",
    "--serve",
    "--variant",
    "--include",
    "--mount",
    "--bind",
    "--userspec",
    "--no-deps",
}  # of podman, pip, COPY, debootstrap and chroot, other verbs


def flags():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return {flag for action in parser._actions for flag in action.option_strings}


@pytest.mark.parametrize("path", [*FILES, ROOT / "docs" / "serving.md"], ids=lambda path: path.name)
def test_every_flag_and_path_there_is_one(path):
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= flags() | OTHERS
    for probe in re.findall(r"path: (/\w+)|GET (/\w+)", text):
        assert (probe[0] or probe[1]) in TABLE or (probe[0] or probe[1]) == "/v1"
    assert KEY in text or path.name not in ("kubernetes.yaml", "serving.md")


def test_every_flag_and_endpoint_is_on_the_page():
    said = set(re.findall(r"--[a-z-]+", PAGE))
    assert flags() - {"-h", "--help"} <= said
    for route in TABLE:
        assert f"{route}`" in PAGE, route


def test_the_limits_on_the_page_are_those_of_the_code():
    limits = Limits()
    for figure in (limits.batch_tokens, limits.requests, limits.inputs, limits.texts, limits.entries, MOST_CONNECTIONS):
        assert f"{figure:,}" in PAGE, figure
    for figure in (f"{limits.body_seconds:g} seconds", "2 MB", "64 MB", "2 million numbers", "128 batches"):
        assert figure in PAGE.replace("\n", " "), figure
    assert (limits.body, limits.bodies, limits.numbers) == (2_000_000, 64_000_000, 2_000_000)
    assert limits.tokens == 128 * limits.batch_tokens


def test_a_function_answers_what_a_gateway_sends(monkeypatch):
    monkeypatch.delenv("NANODISTIL_TASK", raising=False)
    monkeypatch.delenv("NANODISTIL_MODEL", raising=False)
    function = runpy.run_path(str(ROOT / "deploy" / "serverless.py"))
    wish = {"inputs": "Hello I'm a [MASK] model.", "parameters": {"top_k": 1}}
    (found,) = function["handler"](wish)
    plain = function["handler"]({"body": json.dumps(wish)})
    packed = {"body": base64.b64encode(json.dumps(wish).encode()).decode(), "isBase64Encoded": True}
    assert found["token_str"] == "new" and plain == function["handler"](packed)
    assert plain["statusCode"] == 200 and json.loads(plain["body"]) == [found]
    for body, status in (
        ("{", 422), ("[]", 422), ('{"inputs": 5}', 422), ('{"inputs": "no blank"}', 422), (None, 422),
        ('{"inputs": "a [MASK]", "parameters": {"colour": 1}}', 422), ("x" * 200_000, 413),
    ):  # fmt: skip
        refused = function["handler"]({"body": body})
        assert refused["statusCode"] == status and json.loads(refused["body"])["error"]
