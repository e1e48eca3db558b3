"""Writing on, beside others: tokens a second of a DistilGPT2-size model, one text and sixteen, greedy.

    python tests/bench/decoding.py DIR [--new 64] [--rounds 3] [--markdown]

Each engine runs in a process of its own, in turns, so that no threads of one go on spinning beside another. DIR holds
the model with random weights, made at the first run, and what others convert it to: CTranslate2 with its own converter,
OpenVINO GenAI with optimum-intel, llama.cpp from DIR/f32.gguf and DIR/q8_0.gguf, if they are there. An engine that is
not installed, or has no file of its own, is left out and said so.

The floor is what memory allows: a token reads every weight once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np

PROMPT = 32
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
PARAMETERS = 81_912_576  # DistilGPT2's
NEEDS = {"nanodistil": "nanodistil", "transformers": "torch", "ctranslate2": "ctranslate2",
         "openvino": "openvino_genai", "llama.cpp": "llama_cpp"}  # fmt: skip
DTYPES = dict.fromkeys(NEEDS, ("float32", "int8"))
DTYPES |= {"nanodistil": ("float32", "bfloat16", "int8"), "transformers": ("float32",)}


def nanodistil(folder, dtype, prompts, new, threads):
    from nanodistil import GPT2LMHeadModel
    from nanodistil.decoder import Decoder

    model = GPT2LMHeadModel.from_pretrained(folder, dtype=dtype, threads=threads)

    def run():
        decoder = Decoder(model)
        texts = decoder.join(len(prompts))
        scores = decoder.feed(texts, list(prompts))
        for _ in range(new - 1):
            scores = decoder.feed(texts, list(scores.argmax(axis=1)[:, None]))

    return run


def transformers(folder, dtype, prompts, new, threads):
    import torch
    from transformers import GPT2LMHeadModel

    torch.set_num_threads(threads)
    model, ids = GPT2LMHeadModel.from_pretrained(folder).eval(), torch.tensor(prompts)
    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 50256}
    return lambda: model.generate(ids, attention_mask=torch.ones_like(ids), **options)


def ctranslate2(folder, dtype, prompts, new, threads):
    import ctranslate2 as ct

    made = folder / f"ctranslate2_{dtype}"
    if not made.is_dir():
        ct.converters.TransformersConverter(str(folder)).convert(str(made), quantization=dtype)
    generator = ct.Generator(str(made), compute_type=dtype, intra_threads=threads, inter_threads=1)
    words = {i: word for word, i in json.loads((folder / "vocab.json").read_text(encoding="utf-8")).items()}
    texts = [[words[int(i)] for i in prompt] for prompt in prompts]
    options = {"max_length": new, "min_length": new, "include_prompt_in_result": False, "beam_size": 1}
    return lambda: generator.generate_batch(texts, max_batch_size=len(texts), **options)


def openvino(folder, dtype, prompts, new, threads):
    import openvino as ov
    import openvino_genai as genai

    made = folder / f"openvino_{dtype}"
    if not made.is_dir():
        weights = {"float32": "fp32", "int8": "int8"}[dtype]
        command = [str(Path(sys.executable).with_name("optimum-cli")), "export", "openvino", "--model", str(folder)]
        subprocess.run([*command, "--task", "text-generation-with-past", "--weight-format", weights, str(made)],
                       check=True, capture_output=True)  # fmt: skip
    settings = {"INFERENCE_NUM_THREADS": threads}
    if dtype == "float32":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    pipe, config = genai.LLMPipeline(str(made), "CPU", **settings), genai.GenerationConfig()
    config.max_new_tokens = config.min_new_tokens = new
    config.ignore_eos, config.do_sample = True, False
    ids = ov.Tensor(prompts.astype(np.int64))
    given = ids if len(prompts) == 1 else genai.TokenizedInputs(ids, ov.Tensor(np.ones(prompts.shape, np.int64)))
    return lambda: pipe.generate(given, config)


def llama_cpp(folder, dtype, prompts, new, threads):
    from llama_cpp import Llama

    if len(prompts) > 1:
        raise FileNotFoundError("its Python interface writes one text at a time")
    file = folder / {"float32": "f32.gguf", "int8": "q8_0.gguf"}[dtype]
    if not file.is_file():
        raise FileNotFoundError(f"{file.name} is not there")
    model = Llama(str(file), n_ctx=PROMPT + new + 8, n_threads=threads, n_threads_batch=threads, verbose=False)

    def run():
        model.reset()
        for count, _ in enumerate(model.generate(prompts[0].tolist(), temp=0.0, repeat_penalty=1.0), 1):
            if count == new:
                break

    return run


def one(engine, folder, dtype, texts, new, threads):
    """In a process of its own: seconds of several runs, the first one not counted."""
    prompts = np.random.default_rng(0).integers(0, 50_000, (texts, PROMPT))
    run = globals()[engine.replace(".", "_")](folder, dtype, prompts, new, threads)
    run()
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    print(json.dumps(times))


def bandwidth(threads):
    """Bytes a second that so many threads read, the best of some tries."""
    arrays = [np.ones(40_000_000, np.float32) for _ in range(threads)]
    best = 0.0
    for _ in range(8):
        workers = [threading.Thread(target=x.sum) for x in arrays]
        begin = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        best = max(best, sum(x.nbytes for x in arrays) / (time.perf_counter() - begin))
    return best


def prepared(folder):
    if not (folder / "model.safetensors").is_file():
        from nanodistil import GPT2Config, GPT2LMHeadModel

        GPT2LMHeadModel(GPT2Config(n_layer=6), backend="numpy").save_pretrained(folder)
    if not (folder / "vocab.json").is_file():
        sys.exit(f"{folder}: put GPT-2's vocab.json, merges.txt and tokenizer.json there")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engines", nargs="*", default=list(NEEDS))
    parser.add_argument("--texts", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        engine, dtype, texts = given.one
        one(engine, given.folder, dtype, int(texts), given.new, given.threads)
        return
    prepared(given.folder)
    engines = [name for name in given.engines if find_spec(NEEDS[name])]
    for name in set(given.engines) - set(engines):
        print(f"note: {NEEDS[name]} is not installed", file=sys.stderr)
    cells = [(dtype, texts) for texts in given.texts for dtype in BYTES]
    seconds, silent = {}, set()
    for _ in range(given.rounds):
        for dtype, texts in cells:
            for name in engines:
                if dtype not in DTYPES[name] or (name, dtype, texts) in silent:
                    continue
                command = [sys.executable, __file__, str(given.folder), "--new", str(given.new), "--threads",
                           str(given.threads), "--one", name, dtype, str(texts)]  # fmt: skip
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    silent.add((name, dtype, texts))
                    reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
                    print(f"note: {name} {dtype}, {texts} texts: {reason[0][:150]}", file=sys.stderr)
                    continue
                seconds.setdefault((name, dtype, texts), []).extend(json.loads(done.stdout.splitlines()[-1]))
    speed = bandwidth(given.threads)
    print(f"memory read by {given.threads} threads: {speed / 1e9:.1f} GB/s")
    bar = "|" if given.markdown else " "
    heads = ["tokens a second", *engines, "memory allows"]
    print(bar + bar.join(f" {head:22} " for head in heads) + bar)
    if given.markdown:
        print("|" + "---|" * len(heads))
    for dtype, texts in cells:
        row = [f"{dtype}, {texts}"]
        for name in engines:
            times = seconds.get((name, dtype, texts))
            row.append(
                f"{texts * given.new / median(times):.0f} ({texts * given.new / min(times):.0f})" if times else ""
            )
        row.append(f"{speed / PARAMETERS / BYTES[dtype]:.0f}" if texts == 1 else "")
        print(bar + bar.join(f" {cell:22} " for cell in row) + bar)


if __name__ == "__main__":
    main()
