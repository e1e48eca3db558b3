#!/bin/sh
# Does one sentence follow from another? RTE alone, 2,490 pairs: to see how little that carries.
set -e
: "${DATA:=../shared/data}" "${RUNS:=runs}" "${THREADS:=2}"
EPOCHS=4 BATCH=16 RATE=5e-5 SEED=42
export OPENBLAS_NUM_THREADS=1

nanodistil finetune classification --task-name rte --model nanodistil-mini \
    --train "$DATA/eval/rte/train.tsv" --dev "$DATA/eval/rte/dev.tsv" --load-best-model-at-end \
    --batch-size $BATCH --learning-rate $RATE --warmup-steps 60 --num-train-epochs $EPOCHS --seed $SEED \
    --save-steps 100 --threads "$THREADS" --out "$RUNS/entailment" --resume
nanodistil evaluate classification --task-name rte --model "$RUNS/entailment" --data "$DATA/eval/rte/dev.tsv"
nanodistil zero-shot --model "$RUNS/entailment" --labels sport politics cooking -- \
    "The match ended in a draw." "Parliament rejected the bill." "Fry the onions until they are golden."
