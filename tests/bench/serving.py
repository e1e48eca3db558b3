"""A server beside the same pipeline in a process, beside others' engines behind the same HTTP, and under too much load.

    python tests/bench/serving.py [--model FOLDER] [--seconds 10] [--overload 60] [--peers torch onnxruntime openvino]

Texts have the lengths that reviews have, one a request. Needs the extras [serve] and [load]; the others, torch,
transformers, onnxruntime and openvino. About 6 minutes as it is; --overload 600 for ten minutes of twice the capacity,
in which memory is taken each second and its slope told. Every answer is compared with the text's own. The generator of
the load runs beside the server on the same processors, which a server in use would have for itself: so the share of the
in-process figure is told in processor time too, that of the server alone.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from serving import live

from nanodistil import AutoTokenizer, DistilBertModel, pipeline
from nanodistil.onnx_graph import write_onnx
from nanodistil.serve.pressing import Press, Target, texts
from nanodistil.weights.hub import resolve

HERE = Path(__file__).resolve().parent


def whole(model, folder):
    """The model's folder, with nanodistil-mini's tokenizer if it has none."""
    home = resolve(model)
    if (home / "vocab.txt").exists():
        return str(home)
    for source in (home, resolve("nanodistil-mini")):
        for file in source.iterdir():
            if not (folder / file.name).exists() and file.name != "README.md":
                (folder / file.name).symlink_to(file.resolve())
    return str(folder)


def cpu(pid):
    """Seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    """Megabytes."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1e3


def in_a_process(model, every, seconds):
    """Texts a second, and processor seconds a text."""
    embed = pipeline("feature-extraction", model=model)
    embed.encode(every[:100])
    rounds, began, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        embed.encode(every, normalize_embeddings=True)
        rounds += 1
    texts = rounds * len(every)
    return texts / (time.perf_counter() - began), (time.process_time() - used) / texts


@contextmanager
def peer(engine, folder, path, threads):
    """Its port and process id, when it listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, HERE / "serving_peers.py", engine, folder, path, str(threads), str(port)]
    process = subprocess.Popen(argv)
    try:
        for _ in range(1200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, f"{engine} ended"
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


async def pressed(port, every, work):
    """What `work` says, of a Press that is ready."""
    target = Target(f"http://127.0.0.1:{port}")
    async with target.make() as session:
        press = Press(target, session, every)
        await press.begin()
        return await work(press)


def capacity(port, pid, every, seconds):
    """Texts a second, and processor seconds of the server a text."""

    async def work(press):
        await press.capacity(1)
        used, asked = cpu(pid), press.asked
        found = await press.capacity(seconds)
        return found, (cpu(pid) - used) / (press.asked - asked)

    return asyncio.run(pressed(port, every, work))


def levels(port, pid, every, top, seconds, overload):
    """Prints a row a rate."""

    async def work(press):
        print("times  requests/s  p50 ms  p90 ms  p99 ms  200     429     others  other bits  wrong  resident MB")
        at = {}
        for times in (0.5, 0.8, 1.0, 2.0):
            memory, long = [], overload if times == 2 else seconds

            async def watch(memory=memory):
                while True:
                    memory.append((time.perf_counter(), resident(pid)))
                    await asyncio.sleep(1)

            watching = asyncio.ensure_future(watch())
            one = at[times] = await press.pressed(times, top, long)
            watching.cancel()
            ms = [1e3 * one.quantile(q) for q in (0.5, 0.9, 0.99)]
            print(
                f"{times:<6} {one.rate:<11.0f} {ms[0]:<7.0f} {ms[1]:<7.0f} {ms[2]:<7.0f} {len(one.latencies):<7} "
                f"{one.refused:<7} {one.others:<7} {one.bits:<11} {one.wrong:<6} {memory[-1][1]:.0f}",
                flush=True,
            )
        print(f"p99 at 2.0 beside that at 0.8: {at[2.0].quantile(0.99) / at[0.8].quantile(0.99):.2f}")
        late = [one for one in memory if one[0] > memory[0][0] + long / 4] or memory
        slope = np.polyfit([t for t, _ in late], [mb for _, mb in late], 1)[0] if len(late) > 2 else float("nan")
        print(f"memory at 2.0: {60 * slope:+.2f} MB a minute, over the last {late[-1][0] - late[0][0]:.0f} seconds")

    asyncio.run(pressed(port, every, work))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="nanodistil-mini")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--overload", type=float, default=60)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peers", nargs="*", default=["torch", "onnxruntime", "openvino"])
    args = parser.parse_args()
    os.environ["NANODISTIL_NUM_THREADS"] = str(args.threads)
    every = texts()
    with tempfile.TemporaryDirectory() as folder:
        model = whole(args.model, Path(folder))
        alone, alone_cpu = in_a_process(model, every, args.seconds)
        print(f"in a process  {alone:8.1f} texts/s  {1e3 * alone_cpu:7.2f} ms of processors a text", flush=True)
        served = [f"m={model}:feature-extraction", "--port", "0", "--threads", str(args.threads)]
        with live(*served) as server:
            ours, ours_cpu = capacity(server.port, server.process.pid, every, args.seconds)
        print(
            f"over HTTP     {ours:8.1f} texts/s  {1e3 * ours_cpu:7.2f} ms of processors a text: "
            f"{ours / alone:.0%} of in-process by the clock, {alone_cpu / ours_cpu:.0%} by processors",
            flush=True,
        )
        best = 0.0
        if args.peers:
            path = str(Path(folder) / "bench.onnx")
            plain = DistilBertModel.from_pretrained(model)
            write_onnx(Path(path), plain)
            plain.save_pretrained(Path(folder) / "plain")
            AutoTokenizer.from_pretrained(model).save_pretrained(Path(folder) / "plain")
        for engine in args.peers:
            with peer(engine, Path(folder) / "plain", path, args.threads) as (port, pid):
                found, used = capacity(port, pid, every, args.seconds)
            best = max(best, found)
            print(
                f"{engine:<13} {found:8.1f} texts/s  {1e3 * used:7.2f} ms of processors a text: ours is "
                f"{ours / found:.2f} times by the clock, {used / ours_cpu:.2f} by processors",
                flush=True,
            )
        with live(*served) as server:
            again, again_cpu = capacity(server.port, server.process.pid, every, args.seconds)
            print(
                f"over HTTP     {again:8.1f} texts/s  {1e3 * again_cpu:7.2f} ms of processors a text"
                + (f"; the best of the others {best:.1f}: {(ours + again) / 2 / best:.2f} times" if best else ""),
                flush=True,
            )
            levels(server.port, server.process.pid, every, again, args.seconds, args.overload)


if __name__ == "__main__":
    main()
