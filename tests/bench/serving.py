"""A server under load, beside the same pipeline in a process: texts a second, latency, refusals, memory.

    python tests/bench/serving.py [--model FOLDER] [--seconds 20] [--per-request 1]

Open loop: requests start when they are due, whether those before are answered or not, and a latency runs from when its
request was due. A generator that waits for answers before it asks again hides what overload does. Every answer is
compared with the pipeline's own, bit by bit.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from serving import live

from nanodistil import pipeline

CONNECTIONS = 32  # of the closed loop, which measures the capacity
RATES = 0.5, 0.8, 1.0, 2.0
TEXT = "the a film was not so good bad strange and of in it that all who made this city will never know why"


def texts(count=2000):
    """Of lengths as reviews have them: half below 20 words, some of 200."""
    random = np.random.default_rng(0)
    lengths = np.minimum(random.lognormal(3.0, 0.8, count).astype(int) + 1, 250)
    return [" ".join(random.choice(TEXT.split(), length)) for length in lengths]


async def request(port, inputs):
    """Status and vectors."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        body = json.dumps({"inputs": inputs}).encode()
        head = f"POST /embed HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.read()
    finally:
        writer.close()
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]


async def closed(port, pieces, seconds):
    """Requests a second if there are always CONNECTIONS of them."""
    done, stop = 0, time.perf_counter() + seconds

    async def client(first):
        nonlocal done
        i = first
        while time.perf_counter() < stop:
            status, _ = await request(port, pieces[i % len(pieces)])
            assert status == 200
            i, done = i + CONNECTIONS, done + 1

    await asyncio.gather(*map(client, range(CONNECTIONS)))
    return done / seconds


async def opened(port, pieces, expected, rate, seconds):
    """Statuses, latencies of those answered, and how many answers were wrong, at `rate` requests a second."""
    found, wrong = [], 0

    async def one(i, due):
        nonlocal wrong
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        status, body = await request(port, pieces[i % len(pieces)])
        found.append((status, time.perf_counter() - due))
        if status == 200:
            wrong += json.loads(body) != expected[i % len(pieces)]

    began = time.perf_counter()
    await asyncio.gather(*(one(i, began + i / rate) for i in range(int(rate * seconds))))
    return found, wrong


def resident(pid):
    """Megabytes."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1e3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="nanodistil-mini")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--per-request", type=int, default=1)
    args = parser.parse_args()
    every = texts()
    pieces = [every[i : i + args.per_request] for i in range(0, len(every), args.per_request)]
    embed = pipeline("feature-extraction", model=args.model)
    embed.encode(every[:100])
    began = time.perf_counter()
    vectors = [vector.tolist() for vector in embed.encode(every, normalize_embeddings=True, convert_to_numpy=False)]
    alone = len(every) / (time.perf_counter() - began)
    expected = [vectors[i : i + args.per_request] for i in range(0, len(every), args.per_request)]
    print(f"in a process: {alone:.0f} texts/s")
    with live(f"m={args.model}:feature-extraction", "--port", "0") as server:
        asyncio.run(closed(server.port, pieces, 3))
        capacity = asyncio.run(closed(server.port, pieces, args.seconds))
        print(
            f"over HTTP: {capacity * args.per_request:.0f} texts/s, {capacity * args.per_request / alone:.0%} of that"
        )
        print("rate  requests/s  200    429    other  wrong  p50 ms  p99 ms  resident MB")
        for rate in RATES:
            found, wrong = asyncio.run(opened(server.port, pieces, expected, rate * capacity, args.seconds))
            good = [seconds for status, seconds in found if status == 200]
            refused = sum(status == 429 for status, _ in found)
            p50, p99 = (1e3 * np.quantile(good, q) for q in (0.5, 0.99))
            print(
                f"{rate:<5} {rate * capacity:<11.0f} {len(good):<6} {refused:<6} {len(found) - len(good) - refused:<6} "
                f"{wrong:<6} {p50:<7.0f} {p99:<7.0f} {resident(server.process.pid):.0f}"
            )


if __name__ == "__main__":
    main()
