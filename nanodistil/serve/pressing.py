"""A server under load that does not wait for it: `nanodistil bench --serve URL`.

    alone -> every text's answer when nothing else is asked    what each later answer is compared with
    capacity -> requests a second, if there are always CONNECTIONS of them
    pressed -> 0.5, 0.8, 1 and 2 times that

Requests start when they are due, by a Poisson process, whether those before are answered or not, and a latency runs
from when its request was due: a generator that waits for answers before it asks again hides what overload does
(coordinated omission). Of each answer the vector must be the text's own: `wrong` ones are another's, or none; `other
bits` are of servers whose answers depend on what else they compute. Any server of embeddings will do: TEI's `/embed`,
or, where the URL ends with /v1, OpenAI's `/v1/embeddings`, of the first model that makes some. The client is aiohttp's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import count
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Array
from nanodistil.weights.errors import InputError, MissingExtraError

RATES = (0.5, 0.8, 1.0, 2.0)
CONNECTIONS = 64
RETRY = 1.0  # seconds before who was refused asks again, as he is told: at once, refusing was half of a server's work
WARM = 0.2  # of the time of a measurement, before it
WORDS = "the a film was not so good bad strange and of in it that all who made this city will never know why"
ALIKE = 0.999  # cosine of a vector and itself, in whatever precision


class Level(NamedTuple):
    """What came of one rate of requests."""

    times: float  # the capacity
    rate: float  # requests a second
    seconds: float
    latencies: list[float]  # of those answered with 200, ascending, in seconds
    refused: int  # 429
    others: int  # any other status, or none
    bits: int  # answers that are right, to other bits
    wrong: int

    def quantile(self, share: float) -> float:
        """Seconds, NaN if nothing was answered."""
        return float(np.quantile(self.latencies, share)) if self.latencies else float("nan")


class Target:
    """A server of embeddings, one text a request. Raises MissingExtraError without aiohttp."""

    def __init__(self, url: str, key: str | None = None) -> None:
        try:
            import aiohttp
        except ImportError as error:
            raise MissingExtraError(f'--serve needs aiohttp ({error}): pip install "nanodistil[load]"') from None
        if not url.startswith(("http://", "https://")):
            raise InputError(f"--serve takes a URL, http://HOST:PORT or http://HOST:PORT/v1, not {url[:100]!r}")
        self.url, self.openai = url.rstrip("/"), url.rstrip("/").endswith("/v1")
        self.path = f"{self.url}/{'embeddings' if self.openai else 'embed'}"
        self.failures: Any = (aiohttp.ClientError, OSError, TimeoutError)
        self.model: str | None = None
        self.make: Any = lambda: aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=120),
            headers={"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})},
        )

    async def ready(self, session: Any) -> None:
        """Choose OpenAI's first model that answers. Raises InputError if there is none."""
        if not self.openai:
            return
        async with session.get(f"{self.url}/models") as answer:
            names = [one["id"] for one in json.loads(await answer.read())["data"]]
        for self.model in names:
            if (await self.ask(session, self.body("a")))[0] == 200:
                return
        raise InputError(f"{self.path}: no model there makes vectors ({', '.join(map(str, names[:20]))})")

    def body(self, text: str) -> bytes:
        """Of a request."""
        if self.openai:
            return json.dumps({"model": self.model, "input": text, "encoding_format": "float"}).encode()
        return json.dumps({"inputs": text, "truncate": True}).encode()

    def vector(self, body: bytes) -> Array:
        """(D,) float64, of an answer."""
        answer = json.loads(body)
        return np.asarray(answer["data"][0]["embedding"] if self.openai else answer[0], np.float64)

    async def ask(self, session: Any, body: bytes) -> tuple[int, bytes]:
        """Status and body; 0 for none."""
        try:
            async with session.post(self.path, data=body) as answer:
                return answer.status, await answer.read()
        except self.failures:
            return 0, b""


def texts(number: int = 400) -> list[str]:
    """Of lengths as reviews have them, half below 20 words, some of 200; no two alike."""
    random = np.random.default_rng(0)
    lengths = np.minimum(random.lognormal(3.0, 0.8, number).astype(int) + 1, 250)
    return [f"{i} " + " ".join(random.choice(WORDS.split(), length)) for i, length in enumerate(lengths)]


class Press:
    """Asks a target for these texts, again and again."""

    def __init__(self, target: Target, session: Any, inputs: list[str]) -> None:
        self.target, self.session = target, session
        self.bodies = [target.body(text) for text in inputs]
        self.alone: list[bytes] = []
        self.asked = 0  # by `capacity`

    async def begin(self) -> None:
        """Every text's answer, alone. Raises InputError for a server that does not give one."""
        for body in self.bodies:
            status, answer = await self.target.ask(self.session, body)
            while status == 429:
                await asyncio.sleep(0.1)
                status, answer = await self.target.ask(self.session, body)
            if status != 200:
                said = answer[:200].decode("utf-8", "replace") or "nothing"
                raise InputError(f"{self.target.path} answers {status}: {said}")
            self.alone.append(answer)

    def judged(self, i: int, answer: bytes) -> str:
        """Of an answer to text i: "same", "bits" or "wrong"."""
        if answer == self.alone[i]:
            return "same"
        try:
            mine, found = self.target.vector(self.alone[i]), self.target.vector(answer)
        except (ValueError, LookupError, TypeError):
            return "wrong"
        if mine.shape != found.shape:
            return "wrong"
        if (mine == found).all():
            return "same"
        length = float(np.linalg.norm(mine) * np.linalg.norm(found))
        return "bits" if float(mine @ found) > ALIKE * length else "wrong"

    async def capacity(self, seconds: float) -> float:
        """Answers a second, if there are always CONNECTIONS requests. Raises InputError if there are none."""
        turns, done, every, begun = count(), 0, 0, perf_counter()
        first, last = WARM * seconds, (1 + WARM) * seconds

        async def client() -> None:
            nonlocal done, every
            while perf_counter() - begun < last:
                status, _ = await self.target.ask(self.session, self.bodies[next(turns) % len(self.bodies)])
                done += status == 200 and first <= perf_counter() - begun < last
                every += status == 200
                self.asked += 1
                if status != 200:
                    await asyncio.sleep(min(RETRY, seconds / 10))

        await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
        if not every:
            raise InputError(f"{self.target.path} answers nothing with 200 under load")
        return done / seconds if done else every / (perf_counter() - begun)

    async def pressed(self, times: float, capacity: float, seconds: float) -> Level:
        """Requests at so many times the capacity, as a Poisson process has them, and all their answers."""
        kinds = dict.fromkeys(("refused", "others", "same", "bits", "wrong"), 0)
        latencies: list[float] = []
        begun, running = perf_counter(), set[asyncio.Task[None]]()

        async def one(i: int, due: float) -> None:
            status, answer = await self.target.ask(self.session, self.bodies[i])
            took = perf_counter() - begun - due
            if status == 200:
                latencies.append(took)
                kinds[self.judged(i, answer)] += 1
            else:
                kinds["refused" if status == 429 else "others"] += 1

        for n, due in enumerate(arrivals(times * capacity, seconds)):
            if (early := due - (perf_counter() - begun)) > 0:
                await asyncio.sleep(early)
            task = asyncio.ensure_future(one(n % len(self.bodies), due))
            running.add(task)
            task.add_done_callback(running.discard)
        while running:
            await asyncio.wait(running)
        return Level(
            times, times * capacity, seconds, sorted(latencies),
            kinds["refused"], kinds["others"], kinds["bits"], kinds["wrong"],
        )  # fmt: skip


def arrivals(rate: float, seconds: float) -> Iterator[float]:
    """When requests are due: the gaps are exponential, of 1 / rate on average.

    >>> due = list(arrivals(100.0, 50.0))
    >>> due == sorted(due) and due[-1] < 50 and 4700 < len(due) < 5300
    True
    """
    random, due = np.random.default_rng(1), 0.0
    while True:
        due += float(random.exponential(1 / rate))
        if due >= seconds:
            return
        yield due


async def levels(target: Target, seconds: float, inputs: list[str]) -> tuple[float, list[Level]]:
    """The capacity, and what came of each of RATES. Raises InputError."""
    async with target.make() as session:
        try:
            await target.ready(session)
        except (*target.failures, LookupError, ValueError) as error:
            raise InputError(f"{target.url}: {type(error).__name__}; is a server listening there?") from None
        press = Press(target, session, inputs)
        await press.begin()
        capacity = await press.capacity(seconds)
        return capacity, [await press.pressed(times, capacity, seconds) for times in RATES]
