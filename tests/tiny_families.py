"""One tiny folder of every family, by name: a function that writes it, and gives it back."""

from tiny_folders import tiny_folder
from tiny_gpt2s import tiny_gpt2
from tiny_robertas import tiny_roberta

from nanodistil import DistilBertForMaskedLM, DistilBertForSequenceClassification
from nanodistil.family.bert import BertForMaskedLM

FAMILIES = {
    "distilbert": lambda folder: tiny_folder(folder, DistilBertForMaskedLM),
    "bert": lambda folder: tiny_folder(folder, BertForMaskedLM, type_vocab_size=2),
    "classifier": lambda folder: tiny_folder(folder, DistilBertForSequenceClassification),
    "roberta": tiny_roberta,
    "gpt2": tiny_gpt2,
}
