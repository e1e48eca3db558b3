#!/bin/sh
# A small model that writes on: its vocabulary, 10 M weights from scratch, then half its layers by distillation.
set -e
: "${DATA:=../shared/data}" "${RUNS:=runs}" "${THREADS:=2}"
VOCABULARY=8192 STEPS=4000 BATCH=32 LENGTH=128 RATE=1.5e-3 HALF_STEPS=800 SEED=42
export OPENBLAS_NUM_THREADS=1
HERE=$(dirname "$0")
TEXTS="$DATA/corpus/wiki.train.00.txt.xz $DATA/corpus/books.train.txt.xz"

[ -d "$RUNS/clm_tokenizer" ] || nanodistil train-tokenizer $TEXTS --kind byte-level --vocab-size $VOCABULARY \
    --out "$RUNS/clm_tokenizer"
[ -f "$RUNS/clm_data.done" ] || nanodistil binarize $TEXTS --tokenizer "$RUNS/clm_tokenizer" --out "$RUNS/clm_data" --resume
touch "$RUNS/clm_data.done"
learn() { # OUT, what it begins from and learns from
    out=$1
    shift
    nanodistil distill --data-file "$RUNS/clm_data" --tokenizer-name "$RUNS/clm_tokenizer" --max-length $LENGTH \
        --batch-size $BATCH --gradient-accumulation-steps 1 --n-epoch 1 --learning-rate $RATE --warmup-prop 0.03 \
        --weight-decay 0.1 --max-grad-norm 1 --seed $SEED --log-interval 20 --checkpoint-minutes 5 --threads "$THREADS" \
        --dump-path "$out" --resume "$@"
}
learn "$RUNS/causal" --student-config "$HERE/causal.json" --alpha-ce 0 --alpha-clm 1 --max-steps $STEPS
[ -d "$RUNS/causal_half" ] || nanodistil extract-student "$RUNS/causal" "$RUNS/causal_half"
learn "$RUNS/causal_small" --student-pretrained-weights "$RUNS/causal_half" --teacher-name "$RUNS/causal" \
    --alpha-ce 5 --alpha-clm 2 --alpha-cos 1 --max-steps $HALF_STEPS
xz -dc "$DATA/corpus/wiki.valid.txt.xz" | head -n 1000 > "$RUNS/clm_valid.txt"
for model in causal causal_small; do
    python recipes/per_word.py "$RUNS/$model" "$RUNS/clm_valid.txt" "$DATA/eval/wikitext2/test.txt"
    nanodistil generate "The old man looked at the sea and" --model "$RUNS/$model" --sample --top-p 0.9 --seed 1
done
python recipes/ship.py "$RUNS/causal_small" nanodistil-mini-causal
python recipes/card.py nanodistil-mini-causal nanodistil-mini-causal \
    "Perplexity of 1,000 paragraphs of Wikipedia, held-out articles: per_word.py $RUNS/clm_valid.txt" \
    "Perplexity of WikiText-2, test: per_word.py $DATA/eval/wikitext2/test.txt"
