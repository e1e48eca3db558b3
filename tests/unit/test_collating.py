"""Data collators: batches as transformers' collators make them, and what makes none."""

import numpy as np
import pytest

import nanodistil
from nanodistil import InputError

WORDS = nanodistil.DistilBertTokenizer.from_pretrained("nanodistil-mini")
TEXTS = ["a good film", "bad", "what was in the film , and who ?"]


def rows(**more):
    return [{**WORDS(text), **{name: values[i] for name, values in more.items()}} for i, text in enumerate(TEXTS)]


def test_padding():
    wanted = WORDS(TEXTS, padding=True, return_tensors="np")
    for name in ("label", "label_ids", "labels"):
        batch = nanodistil.DataCollatorWithPadding(WORDS)(rows(**{name: [2, 0, 1]}))
        assert batch["labels"].tolist() == [2, 0, 1] and set(batch) == {"input_ids", "attention_mask", "labels"}
        np.testing.assert_array_equal(batch["input_ids"], wanted["input_ids"])
    assert nanodistil.DataCollatorWithPadding(WORDS, pad_to_multiple_of=16)(rows())["input_ids"].shape == (3, 16)
    longest = nanodistil.DataCollatorWithPadding(WORDS, padding="max_length", max_length=12)(rows())
    assert longest["input_ids"].shape == (3, 12)


@pytest.mark.parametrize("side", ["right", "left"])
def test_labels_of_tokens(side):
    words = nanodistil.DistilBertTokenizer.from_pretrained("nanodistil-mini", padding_side=side)
    labels = [[7] * len(words(text)["input_ids"]) for text in TEXTS]
    batch = nanodistil.DataCollatorForTokenClassification(words)(rows(labels=labels))
    assert ((batch["labels"] == 7) == (batch["attention_mask"] == 1)).all() and (batch["labels"] == -100).any()


def test_masks():
    collate = nanodistil.DataCollatorForLanguageModeling(WORDS, mlm_probability=0.5, seed=1)
    plain = nanodistil.DataCollatorWithPadding(WORDS)(rows())["input_ids"]
    kept = hidden = other = chosen = 0
    for _ in range(300):
        batch = collate(rows())
        at = batch["labels"] != -100
        np.testing.assert_array_equal(np.where(at, batch["labels"], batch["input_ids"]), plain)
        assert not at[np.isin(plain, WORDS.all_special_ids)].any()
        now = batch["input_ids"][at]
        chosen += at.sum()
        hidden += (now == WORDS.mask_token_id).sum()
        kept += (now == plain[at]).sum()
        other += ((now != plain[at]) & (now != WORDS.mask_token_id)).sum()
    eligible = 300 * (~np.isin(plain, WORDS.all_special_ids)).sum()
    shares = np.array([chosen / eligible, hidden / chosen, other / chosen, kept / chosen])
    np.testing.assert_allclose(shares, [0.5, 0.8, 0.1, 0.1], atol=0.04)
    masked = [row | {"special_tokens_mask": [1] * len(row["input_ids"])} for row in map(dict, rows())]
    assert (collate(masked)["labels"] == -100).all()
    ids_alone = nanodistil.DataCollatorForLanguageModeling(WORDS, seed=2)([row["input_ids"] for row in rows()])
    assert ids_alone["input_ids"].shape == plain.shape


def test_what_makes_no_batch():
    pad = nanodistil.DataCollatorWithPadding(WORDS)
    for wrong in ([], ["a"], 3, [{"input_ids": [1]}, {"input_ids": [1], "label": 2}], [{"label": 1}]):
        with pytest.raises(InputError):
            pad(wrong)
    with pytest.raises(InputError, match="lengths"):
        nanodistil.default_data_collator(rows())
    with pytest.raises(InputError, match="tokens"):
        nanodistil.DataCollatorForTokenClassification(WORDS)(rows(labels=[1, 2, 3]))
    for wrong in ({"mlm_probability": 2}, {"mask_replace_prob": 0.9, "random_replace_prob": 0.2}):
        with pytest.raises(InputError):
            nanodistil.DataCollatorForLanguageModeling(WORDS, **wrong)
    with pytest.raises(InputError, match="tensor_type"):
        nanodistil.DataCollatorWithPadding(WORDS, return_tensors="tf")(rows())
