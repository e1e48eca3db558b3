"""A million lines through Ray, Spark and Dask, beside one plain process: time, the engine's part of it, memory.

    python tests/bench/bulk.py LINES.txt [--rows 1000000] [--model FOLDER] [--engines plain ray spark dask]

Lines become a Parquet file of ids and texts; each engine reads it, has a Predictor add vectors, and writes Parquet. Two
workers of one thread each, but for `plain`, a loop over the file's batches in one process of one thread. Each runs in a
process of its own, whose whole tree is watched: seconds of processor (which neighbours on the machine disturb less than
the clock) and resident memory. Memory is constant if the line through it, from a third of the run on, is flat: its
slope is told in MB for every 100,000 rows, of Python's processes. Afterwards every vector is compared with
plain's, bit by bit, and ids are counted.

Extras: ray, spark, dask.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

BATCH = 1024
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def prepared(lines, rows, to):
    """Sentences' first words, at most 12, as ids and texts in groups of 20,000 rows."""
    import pyarrow as pa
    from pyarrow import parquet

    schema, texts, made = pa.schema([("id", pa.int64()), ("text", pa.string())]), [], 0
    with open(lines, encoding="utf-8") as file, parquet.ParquetWriter(to, schema) as writer:
        sentences = (sentence for line in file for sentence in line.split(". ") if len(sentence.split()) > 2)
        for sentence in sentences:
            texts.append(" ".join(sentence.split()[:12]))
            if len(texts) == 20_000 or made + len(texts) == rows:
                ids = range(made, made + len(texts))
                writer.write_table(pa.table({"id": list(ids), "text": texts}, schema=schema))
                made, texts = made + len(texts), []
            if made == rows:
                break
    if made < rows:
        sys.exit(f"{lines} has {made} sentences; {rows} are wanted")


def plain(table, out, predict):
    import pyarrow as pa
    from pyarrow import parquet

    writer = None
    for batch in parquet.ParquetFile(table).iter_batches(BATCH):
        found = predict({name: batch[name] for name in ("id", "text")})
        flat = pa.array(found["vector"].reshape(-1))
        vectors = pa.ListArray.from_arrays(np.arange(0, len(flat) + 1, found["vector"].shape[1], np.int32), flat)
        done = pa.table({"id": batch["id"], "vector": vectors})
        if writer is None:
            os.mkdir(out)
            writer = parquet.ParquetWriter(f"{out}/part.parquet", done.schema)
        writer.write_table(done)
    writer.close()


def ray(table, out, predict):
    import ray

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=500_000_000)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order, context.enable_progress_bars = True, False
    told = {"model": predict.model, "task": predict.task}
    rows = ray.data.read_parquet(table).repartition(target_num_rows_per_block=8 * BATCH).map_batches(
        type(predict), fn_constructor_kwargs=told, compute=ray.data.ActorPoolStrategy(size=2),
        num_cpus=1, batch_size=None,
    )  # fmt: skip
    rows.drop_columns(["text"]).write_parquet(out)
    ray.shutdown()


def spark(table, out, predict):
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    build = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    build = build.config("spark.driver.memory", "1g").config("spark.sql.execution.arrow.maxRecordsPerBatch", BATCH)
    session = build.config("spark.sql.files.maxPartitionBytes", "2m").getOrCreate()
    session.read.parquet(table).mapInPandas(partial(in_frames, predict), "id long, vector array<float>").write.parquet(
        out
    )
    session.stop()


def in_frames(predict, frames):
    for frame in frames:
        yield predict(frame)[["id", "vector"]]


def dask(table, out, predict):
    import dask.dataframe as dd
    import pyarrow as pa
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        rows = dd.read_parquet(table, split_row_groups=1)
        meta = {"id": "int64", "text": "string", "vector": "object"}
        found = rows.map_partitions(predict, meta=meta)[["id", "vector"]]
        schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32()))])
        found.to_parquet(out, schema=schema, write_index=False)


def run(engine, table, out, model):
    """In a process of its own."""
    from nanodistil import Predictor

    threads = 1 if engine == "plain" else None
    started = time.perf_counter()
    globals()[engine](table, out, Predictor(model, "feature-extraction", threads=threads))
    print(json.dumps(time.perf_counter() - started))


# ---- watching


def processes():
    """Every process of the machine: number -> (parent, ticks, resident bytes, name)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
                fields = rest.split()
                found[int(entry.name)] = int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[21]) * PAGE, name
    return found


def watched(command):
    """Run it: seconds, seconds of processor of its whole tree, and [(time, MB of all, MB of Python's)]."""
    started, ticks, seen = time.perf_counter(), {}, []
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    while child.poll() is None:
        everybody, tree = processes(), {child.pid}
        while grown := {pid for pid, (parent, *_) in everybody.items() if parent in tree} - tree:
            tree |= grown
        there = {pid: everybody[pid] for pid in tree if pid in everybody}
        ticks |= {pid: used for pid, (_, used, _, _) in there.items()}
        memory = {pid: size / 2**20 for pid, (_, _, size, _) in there.items()}
        ours = sum(
            size for pid, size in memory.items() if "java" not in there[pid][3] and "raylet" not in there[pid][3]
        )
        seen.append((time.perf_counter() - started, sum(memory.values()), ours))
        time.sleep(0.5)
    if child.returncode:
        sys.exit(f"{command} failed")
    return time.perf_counter() - started, sum(ticks.values()) / TICK, np.array(seen)


def compared(wanted, out):
    """How many rows of `out` have the vector they have in `wanted`; whether each is there once; and in order."""
    from pyarrow import dataset, parquet

    right = parquet.read_table(next(Path(wanted).glob("*.parquet")))
    vectors = right["vector"].combine_chunks().flatten().to_numpy().reshape(right.num_rows, -1)
    times, same = np.zeros(len(vectors), int), 0
    parts = sorted(str(path) for path in Path(out).glob("*.parquet"))
    before, in_order = -1, True
    for batch in dataset.dataset(parts).scanner(use_threads=False).to_batches():
        if not len(batch):
            continue
        ids = batch["id"].to_numpy()
        found = batch["vector"].flatten().to_numpy().reshape(len(ids), -1)
        same += int((found == vectors[ids]).all(axis=1).sum())
        in_order = in_order and bool((np.diff(ids) > 0).all())
        before = ids[-1]
        np.add.at(times, ids, 1)
    assert before >= 0
    return same, bool((times == 1).all()), in_order


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lines", help="a text file of many sentences")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--model", default="nanodistil-mini")
    parser.add_argument("--engines", nargs="+", default=["plain", "ray", "spark", "dask"])
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        run(*args.run)
        return
    with tempfile.TemporaryDirectory() as folder:
        table = f"{folder}/lines.parquet"
        prepared(args.lines, args.rows, table)
        engines, used = ["plain", *(one for one in args.engines if one != "plain")], {}
        for engine in engines:
            out = f"{folder}/{engine}"
            clock, used[engine], seen = watched([sys.executable, __file__, "", "--run", engine, table, out, args.model])
            late = seen[seen[:, 0] > clock / 3]
            slopes = np.polyfit(late[:, 0], late[:, 1:], 1)[0] * clock * 100_000 / args.rows
            same, once, in_order = compared(f"{folder}/plain", out)
            print(f"{engine}: {clock:.0f} s, {args.rows / clock:.0f} rows/s", flush=True)
            print(f"  processor {used[engine]:.0f} s, {used[engine] / used['plain']:.2f} of plain")
            every, python = late[:, 1:].mean(axis=0)
            print(f"  memory {every:.0f} MB, at most {seen[:, 1].max():.0f}; of Python {python:.0f} MB")
            print(f"  slope {slopes[1]:+.2f} MB a 100,000 rows of Python's, {slopes[0]:+.2f} of all")
            print(f"  {same} vectors equal, each row once: {once}, in order: {in_order}", flush=True)


if __name__ == "__main__":
    main()
