#!/bin/sh
# Where in a text is the answer? Questions made of Wikipedia, and the few of people that there are.
set -e
: "${DATA:=../shared/data}" "${RUNS:=runs}" "${THREADS:=2}"
EPOCHS=1 BATCH=16 RATE=1e-4 RANK=32 SEED=42
export OPENBLAS_NUM_THREADS=1

[ -f "$RUNS/questions/dev.json" ] || python recipes/questions.py "$DATA" "$RUNS/questions"
nanodistil finetune question-answering --model nanodistil-mini --max-seq-length 256 --doc-stride 64 \
    --train "$RUNS/questions/train.json" --dev "$RUNS/questions/dev.json" --load-best-model-at-end \
    --batch-size $BATCH --learning-rate $RATE --warmup-steps 80 --num-train-epochs $EPOCHS --seed $SEED \
    --save-steps 100 --threads "$THREADS" --out "$RUNS/answers" --resume
python recipes/ship.py "$RUNS/answers" nanodistil-mini-answers $RANK
python recipes/card.py nanodistil-mini-answers nanodistil-mini-answers \
    "XQuAD en, 8 articles that nothing was learned from: question-answering --data $RUNS/questions/dev.json"
