"""The recipes of docs/guide/scale.md in the real engines: the pipeline's bits, rows in order, killed workers, threads.

Each engine has an extra of its own, and seconds to start; without it its tests are skipped.
"""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nanodistil import InputError, Predictor, pipeline
from nanodistil.bulk.loaded import granted

pytestmark = pytest.mark.sweep

TEXTS = [f"Text number {i} is {'long, ' * (i % 7)}and good." for i in range(240)]
MINI = "nanodistil-mini"


@pytest.fixture(scope="module")
def wanted():
    return np.stack(pipeline("feature-extraction", MINI)(TEXTS, pooling="mean", return_tensors=True))


def kill_once(once):
    """kill -9 of the process that comes here first."""
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


class Dying(Predictor):
    """A Predictor in whose middle somebody ends the process, once."""

    def __init__(self, *arguments, once, **settings):
        super().__init__(*arguments, **settings)
        self.once = once

    def __call__(self, columns):
        found = super().__call__(columns)
        if 100 in list(columns["id"]):
            kill_once(self.once)
        return {**found, "threads": [granted()] * len(found["id"])} if isinstance(found, dict) else found


def check(rows, wanted):
    """rows: of id, text, vector, in order."""
    assert [row["id"] for row in rows] == list(range(len(TEXTS)))
    assert [row["text"] for row in rows] == TEXTS
    np.testing.assert_array_equal(np.array([row["vector"] for row in rows], np.float32), wanted)


# ---- Ray


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray", reason="needs the extra [ray]")
    pytest.importorskip("ray.data", reason="needs the extra [ray]")
    env = {"PYTHONPATH": str(Path(__file__).parent)}
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # on a busy machine
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": env})
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray
    ray.shutdown()


def test_ray_data(ray, wanted, tmp_path):
    table = ray.data.from_items([{"id": i, "text": text} for i, text in enumerate(TEXTS)], override_num_blocks=6)
    told = {"model": MINI, "task": "feature-extraction", "once": str(tmp_path / "once")}
    pool = ray.data.ActorPoolStrategy(size=1)
    rows = table.map_batches(Dying, fn_constructor_kwargs=told, batch_size=None, num_cpus=2, compute=pool).take_all()
    check(rows, wanted)
    assert (tmp_path / "once").exists() and {int(row["threads"]) for row in rows} == {2}


def test_an_error_of_ours_reaches_the_driver_of_ray(ray):
    @ray.remote
    def task(predict):
        return predict({"text": ["fine", None]})

    with pytest.raises(InputError, match="input 2 is not a string but NoneType"):
        ray.get(task.remote(Predictor(MINI, "feature-extraction")))


# ---- Spark


@pytest.fixture(scope="module")
def spark():
    pytest.importorskip("pyspark", reason="needs the extra [spark]")
    pytest.importorskip("pandas", reason="needs pandas")
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    from pyspark.sql import SparkSession

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(Path(__file__).parent))
            patch.setenv("PYSPARK_PYTHON", sys.executable)
            build = SparkSession.builder.master("local[2,4]").config("spark.ui.enabled", "false")
            for name, value in (
                ("spark.task.cpus", "2"),
                ("spark.sql.shuffle.partitions", "2"),
                ("spark.driver.memory", "1g"),
                ("spark.log.level", "OFF"),
            ):
                build = build.config(name, value)
            session = build.getOrCreate()
    except Exception as error:
        pytest.skip(f"Spark does not start: {error}")
    yield session
    session.stop()


def vectors(once):
    """For predict_batch_udf."""
    predict = Predictor(MINI, "feature-extraction")

    def answer(ids, texts):
        if 100 in ids.tolist():
            kill_once(once)
        return predict({"text": texts})["vector"]

    return answer


def in_frames(predict, frames):
    """For mapInPandas."""
    for frame in frames:
        yield predict(frame)


def test_spark(spark, wanted, tmp_path):
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import ArrayType, FloatType

    table = spark.createDataFrame(list(enumerate(TEXTS)), "id long, text string").repartition(5, "id")
    make = partial(vectors, str(tmp_path / "once"))
    vector = predict_batch_udf(make, return_type=ArrayType(FloatType()), batch_size=16)
    check(table.withColumn("vector", vector("id", "text")).orderBy("id").collect(), wanted)
    assert (tmp_path / "once").exists()
    dying = Dying(MINI, "feature-extraction", once=str(tmp_path / "again"))
    schema = "id long, text string, vector array<float>"
    check(table.mapInPandas(partial(in_frames, dying), schema).orderBy("id").collect(), wanted)
    assert (tmp_path / "again").exists()
    assert table.rdd.map(lambda _: granted()).distinct().collect() == [2]


# ---- Dask


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("dask.dataframe", reason="needs the extra [dask]")
    distributed = pytest.importorskip("distributed", reason="needs the extra [dask]")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.run(lambda: __import__("sys").path.append(str(Path(__file__).parent)))
        yield client


def test_dask(cluster, wanted, tmp_path):
    import dask
    import dask.dataframe as dd
    import pandas as pd

    table = dd.from_pandas(pd.DataFrame({"id": range(len(TEXTS)), "text": TEXTS}), npartitions=6)
    meta = {"id": "int64", "text": "string", "vector": "object"}
    predict = Predictor(MINI, "feature-extraction")
    found = table.map_partitions(predict, meta=meta)
    check(found.compute().to_dict("records"), wanted)
    check(found.compute(scheduler="threads").to_dict("records"), wanted)
    assert cluster.submit(granted).result() == 2
    with pytest.raises(InputError, match="there is no column 'text'"):
        dask.delayed(predict)({"words": ["a"]}).compute()
    dying = cluster.submit(_killed, predict, str(tmp_path / "once"))
    np.testing.assert_array_equal(dying.result(), wanted)
    assert (tmp_path / "once").exists()


def _killed(predict, once):
    found = predict({"text": TEXTS})["vector"]
    kill_once(once)
    return found
