#!/bin/sh
# Is a text positive or negative? SST-2, all weights; what they learned becomes a LoRA. Licence of the data: see the card.
set -e
: "${DATA:=../shared/data}" "${RUNS:=runs}" "${THREADS:=2}"
EPOCHS=2 BATCH=32 RATE=5e-5 SEED=42 RANK=64
export OPENBLAS_NUM_THREADS=1

nanodistil finetune classification --task-name sst2 --labels NEGATIVE,POSITIVE --model nanodistil-mini \
    --train "$DATA/eval/sst2/train.tsv" --dev "$DATA/eval/sst2/dev.tsv" --load-best-model-at-end \
    --batch-size $BATCH --learning-rate $RATE --warmup-steps 200 --num-train-epochs $EPOCHS --seed $SEED \
    --save-steps 500 --threads "$THREADS" --out "$RUNS/sentiment" --resume
python recipes/ship.py "$RUNS/sentiment" nanodistil-mini-sentiment $RANK
python recipes/card.py nanodistil-mini-sentiment nanodistil-mini-sentiment \
    "SST-2, dev: classification --task-name sst2 --data $DATA/eval/sst2/dev.tsv"
