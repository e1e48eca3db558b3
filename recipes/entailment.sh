#!/bin/sh
# Does one sentence follow from another? RTE alone, 2,490 pairs: to see how little that carries.
set -e
: "${DATA:=../shared/data}" "${RUNS:=runs}" "${THREADS:=2}"
EPOCHS=6 BATCH=32 RATE=8e-4 RANK=16 FROZEN=2 SEED=42
export OPENBLAS_NUM_THREADS=1

nanodistil finetune classification --task-name rte --model nanodistil-mini \
    --train "$DATA/eval/rte/train.tsv" --dev "$DATA/eval/rte/dev.tsv" --load-best-model-at-end \
    --lora-r $RANK --lora-alpha 16 --frozen-layers $FROZEN --batch-size $BATCH --learning-rate $RATE \
    --warmup-steps 40 --num-train-epochs $EPOCHS --seed $SEED --save-steps 50 --threads "$THREADS" \
    --out "$RUNS/entailment" --resume
nanodistil evaluate classification --task-name rte --model "$RUNS/entailment" --data "$DATA/eval/rte/dev.tsv"
nanodistil zero-shot --model "$RUNS/entailment" --labels sport politics cooking -- \
    "The match ended in a draw." "Parliament rejected the bill." "Fry the onions until they are golden."
