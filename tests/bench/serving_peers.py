"""What others would put a model behind: an engine, padded batches, the same HTTP. Run by serving.py, not by hand.

    python serving_peers.py torch|onnxruntime|openvino FOLDER MODEL.onnx THREADS PORT

POST /embed {"inputs": "..."} as TEI has it. What has come while a batch was computed is the next one, up to 32 texts,
padded to the longest of them. Starlette, on which FastAPI stands, without FastAPI's own validation: in their favour.
Tokenized by Hugging Face's compiled tokenizer, written by orjson, read by httptools, as ours is.
"""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

AT_ONCE = 32


def torch_engine(folder, path, threads):
    import torch
    from transformers import AutoModel

    torch.set_num_threads(threads)
    model = AutoModel.from_pretrained(folder).eval()

    def call(ids, mask):
        with torch.inference_mode():
            return model(torch.from_numpy(ids), torch.from_numpy(mask)).last_hidden_state.numpy()

    return call


def onnxruntime_engine(folder, path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


def openvino_engine(folder, path, threads):
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(
        path,
        "CPU",
        {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"},
    )
    request = compiled.create_infer_request()
    return lambda ids, mask: request.infer({"input_ids": ids, "attention_mask": mask})[compiled.output(0)]


class Batcher:
    """Texts that wait, and one thread that computes."""

    def __init__(self, call, tokenizer):
        self.call, self.tokenizer = call, tokenizer
        self.waiting, self.thread, self.running = [], ThreadPoolExecutor(1), None

    async def vector(self, text):
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((text, future))
        if self.running is None:
            self.running = asyncio.ensure_future(self.run())
        return await future

    async def run(self):
        while self.waiting:
            batch, self.waiting = self.waiting[:AT_ONCE], self.waiting[AT_ONCE:]
            loop = asyncio.get_running_loop()
            vectors = await loop.run_in_executor(self.thread, self.compute, [text for text, _ in batch])
            for (_, future), vector in zip(batch, vectors, strict=True):
                future.set_result(vector)
        self.running = None

    def compute(self, texts):
        given = self.tokenizer(texts, padding=True, truncation=True, max_length=512, return_tensors="np")
        ids, mask = given["input_ids"].astype(np.int64), given["attention_mask"].astype(np.int64)
        hidden = self.call(ids, mask)  # (B, T, D)
        mean = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).tolist()


def main(engine, folder, path, threads, port):
    from transformers import AutoTokenizer

    batcher = Batcher(globals()[f"{engine}_engine"](folder, path, int(threads)), AutoTokenizer.from_pretrained(folder))

    async def embed(request):
        text = orjson.loads(await request.body())["inputs"]
        return Response(orjson.dumps([await batcher.vector(text)]), media_type="application/json")

    app = Starlette(routes=[Route("/embed", embed, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
