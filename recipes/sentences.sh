#!/bin/sh
# Vectors of sentences: captions with scores, and neighbours in paragraphs, by contrast.
set -e
: "${DATA:=../shared/data}" "${RUNS:=runs}" "${THREADS:=2}"
EPOCHS=1 BATCH=64 RATE=5e-4 RANK=16 FROZEN=2 SEED=42
export OPENBLAS_NUM_THREADS=1

[ -f "$RUNS/pairs/near.jsonl" ] || python recipes/pairs.py "$DATA" "$RUNS/pairs"
nanodistil finetune sentence-similarity --model nanodistil-mini --max-seq-length 64 \
    --train "$RUNS/pairs/train.jsonl" --dev "$RUNS/pairs/stsb.jsonl" \
    --lora-r $RANK --lora-alpha 16 --frozen-layers $FROZEN --batch-size $BATCH --learning-rate $RATE \
    --warmup-steps 20 --num-train-epochs $EPOCHS --seed $SEED --save-steps 50 --logging-steps 10 \
    --threads "$THREADS" --out "$RUNS/sentences" --resume
python recipes/ship.py "$RUNS/sentences" nanodistil-mini-sentences
for data in stsb near; do # of the body: no worse than that
    nanodistil evaluate sentence-similarity --model nanodistil-mini --data "$RUNS/pairs/$data.jsonl"
done
python recipes/card.py nanodistil-mini-sentences nanodistil-mini-sentences \
    "STS benchmark, dev (all its parts): sentence-similarity --data $RUNS/pairs/stsb.jsonl" \
    "The continuation of a paragraph's beginning among 1,000, held-out articles: \
sentence-similarity --data $RUNS/pairs/near.jsonl"
