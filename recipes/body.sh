#!/bin/sh
# The body, onwards from where it stands: more Wikipedia and novels, every chosen word hidden.
set -e
: "${DATA:=../shared/data}" "${RUNS:=runs}" "${THREADS:=2}" "${DTYPE:=float32}"
STEPS=20000 BATCH=64 LENGTH=128 RATE=5e-4 SEED=59
export OPENBLAS_NUM_THREADS=1

[ -f "$RUNS/mlm_data.done" ] || nanodistil binarize "$DATA"/corpus/wiki.train.0?.txt.xz "$DATA/corpus/books.train.txt.xz" \
    --out "$RUNS/mlm_data" --resume
touch "$RUNS/mlm_data.done"
if [ ! -d "$RUNS/start" ]; then # without dropout: it sees nothing twice
    nanodistil export nanodistil-mini "$RUNS/start"
    sed -i 's/"\(attention_\)\{0,1\}dropout": 0.1/"\1dropout": 0.0/' "$RUNS/start/config.json"
fi
nanodistil distill --data-file "$RUNS/mlm_data" --student-pretrained-weights "$RUNS/start" --alpha-ce 0 --alpha-mlm 1 \
    --mlm-smoothing 0 --mlm-mask-prop 0.2 --word-mask 1 --word-keep 0 --word-rand 0 --max-length $LENGTH \
    --no-group-by-size --batch-size $BATCH --gradient-accumulation-steps 1 --n-epoch 1 --max-steps $STEPS \
    --learning-rate $RATE --warmup-prop 0.02 --weight-decay 0.01 --max-grad-norm 1 --dtype "$DTYPE" --seed $SEED \
    --log-interval 50 --checkpoint-minutes 5 --threads "$THREADS" --dump-path "$RUNS/body" --resume
for model in nanodistil-mini "$RUNS/body"; do # ship it only if it is better: python tests/bench/mini_rounding.py
    for text in wiki books; do
        nanodistil evaluate masked-lm --limit 2000 --max-seq-length 128 --seed 42 --model "$model" \
            --data "$DATA/corpus/$text.valid.txt.xz"
    done
done
