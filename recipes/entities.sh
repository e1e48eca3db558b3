#!/bin/sh
# Which words are names of people, places, organisations? WikiANN, WNUT-17, and text without names.
set -e
: "${DATA:=../shared/data}" "${RUNS:=runs}" "${THREADS:=2}"
EPOCHS=3 BATCH=32 RATE=3e-4 SEED=42 RANK=64
export OPENBLAS_NUM_THREADS=1

[ -f "$RUNS/names/wnut.conll" ] || python recipes/names.py "$DATA" "$RUNS/names"
nanodistil finetune token-classification --model nanodistil-mini \
    --train "$RUNS/names/train.conll" --dev "$RUNS/names/wikiann.conll" --load-best-model-at-end \
    --batch-size $BATCH --learning-rate $RATE --warmup-steps 200 --num-train-epochs $EPOCHS --seed $SEED \
    --save-steps 500 --threads "$THREADS" --out "$RUNS/entities" --resume
python recipes/ship.py "$RUNS/entities" nanodistil-mini-entities $RANK
python recipes/card.py nanodistil-mini-entities nanodistil-mini-entities \
    "WikiANN en, dev: token-classification --data $RUNS/names/wikiann.conll" \
    "WNUT-17, dev, kinds as in training: token-classification --data $RUNS/names/wnut.conll"
