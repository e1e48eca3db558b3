"""What a run asks of a GPU, in the order of what the answers tell, and how long each may take.

A step is either a list of test files, of which those tests are run that concern the GPU (as_it_goes.py), or a script.
First what there is; then one kernel each, because whatever else is wrong follows from a wrong kernel; then the whole
model, a training step, launches from a recording, whether bits repeat, and where memory goes; then NVIDIA's checkers
on the smallest shapes; then how fast it is, in whatever time is left. `rehearsal` is what stands for a step in the
emulator, where a kernel takes a thousand times as long: a few tests of each, the same scripts with small shapes.

The limits add up to less than eight minutes; what a step does not need is the last one's.
"""

from typing import NamedTuple

SECONDS = 470  # of the whole run
PATIENCE = 10  # times as much in a rehearsal, whose kernels are compiled by g++ on whatever machine this is


class Step(NamedTuple):
    name: str
    limit: int  # seconds; 0: what is left
    tests: tuple[str, ...] = ()
    script: tuple[str, ...] = ()  # and its arguments; in tests/
    rehearsal: tuple[str, ...] = ()  # tests, or the script's arguments
    checker: str = ""  # tool of compute-sanitizer that the script runs under
    alone: bool = False  # one process at a time, since it looks at what is in use
    to: str = "logs.txt"  # where the script's output goes


MEMORY = "tests/gpu/test_device_memory.py"
UNIT = "tests/unit/test_"

STEPS = (
    Step("facts", 20, script=("gpu/facts.py",), to="facts.txt"),
    Step(
        "kernels",
        100,
        tests=(
            f"{UNIT}cublas_lt.py", f"{UNIT}cuda_sources.py", f"{UNIT}cuda_attention.py", f"{UNIT}ops.py",
            f"{UNIT}cuda_backward.py", f"{UNIT}training_ops.py",
            f"--deselect={UNIT}cuda_sources.py::test_nvcc_compiles_them_without_spilling",  # minutes, and no GPU
        ),
        rehearsal=(
            f"{UNIT}cublas_lt.py::test_nothing_beside_the_result_is_written",
            f"{UNIT}cuda_sources.py::test_activation_from_one_type_to_another",
            f"{UNIT}cuda_sources.py::test_layer_norm_of_rows_far_from_zero",
            f"{UNIT}cuda_sources.py::test_most_probable[forward]",
            f"{UNIT}cuda_attention.py::test_float32[5]",
            f"{UNIT}cupy_ops.py::test_blocks_of_queries",
        ),
    ),
    Step(
        "model",
        45,
        tests=(
            f"{UNIT}cupy_ops.py", "tests/golden/test_tiny.py", f"{UNIT}model.py", f"{UNIT}heads.py", f"{UNIT}bert.py",
            f"{UNIT}pre_norm.py", f"{UNIT}toy_head.py", f"{UNIT}toy_family.py", f"{UNIT}padded_vocabulary.py",
            f"{UNIT}text_classification.py", f"{UNIT}state.py", f"{UNIT}causal.py", f"{UNIT}decoder.py",
        ),
        rehearsal=(f"{UNIT}cupy_ops.py::test_logits_are_off_by_a_few_roundings[float16]",),
    ),
    Step(
        "training",
        45,
        tests=(f"{UNIT}cuda_training.py", f"{UNIT}training_backward.py"),
        rehearsal=(f"{UNIT}cuda_training.py::test_gradients_by_rounded_products_point_the_same_way[tf32-0.002]",),
    ),
    Step("graphs", 20, tests=(f"{UNIT}cuda_graph.py",), rehearsal=(f"{UNIT}cuda_graph.py::test_sizes_take_turns",)),
    Step("bits", 15, tests=("tests/gpu/test_bits.py",), rehearsal=("tests/gpu/test_bits.py",)),
    Step("memory", 15, tests=(MEMORY,), rehearsal=(MEMORY,), alone=True),
    Step("memcheck", 35, script=("gpu/smallest.py",), checker="memcheck", to="sanitizer.txt"),
    Step("racecheck", 35, script=("gpu/smallest.py",), checker="racecheck", to="sanitizer.txt"),
    Step(
        "figures",
        0,
        script=("bench/gpu.py",),
        rehearsal=("--layers", "1", "--shapes", "1x8", "ragged2x9", "--dtypes", "float32", "--steps", "--seconds", "0"),
        to="figures.txt",
    ),
)  # fmt: skip
