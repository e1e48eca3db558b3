#!/bin/sh
# Is a text positive or negative? SST-2, on the upper half of the body. Licence of the data: see the card.
set -e
: "${DATA:=../shared/data}" "${RUNS:=runs}" "${THREADS:=2}"
EPOCHS=2 BATCH=64 RATE=8e-4 RANK=16 FROZEN=3 SEED=42
export OPENBLAS_NUM_THREADS=1

nanodistil finetune classification --task-name sst2 --labels NEGATIVE,POSITIVE --model nanodistil-mini \
    --train "$DATA/eval/sst2/train.tsv" --dev "$DATA/eval/sst2/dev.tsv" --load-best-model-at-end \
    --lora-r $RANK --lora-alpha 16 --frozen-layers $FROZEN --batch-size $BATCH --learning-rate $RATE \
    --warmup-steps 100 --num-train-epochs $EPOCHS --seed $SEED --save-steps 100 --threads "$THREADS" \
    --out "$RUNS/sst2" --resume
python recipes/ship.py "$RUNS/sst2" nanodistil-mini-sentiment
python recipes/card.py nanodistil-mini-sentiment nanodistil-mini-sentiment \
    "SST-2, dev: classification --task-name sst2 --data $DATA/eval/sst2/dev.tsv"
