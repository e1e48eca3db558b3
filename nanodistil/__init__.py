"""nanodistil: DistilBERT from scratch in NumPy and Numba.

DistilBERT's names stand below; those of its relatives, `BertForMaskedLM` and so on, are found by the table of families.
Names resolve on first use (PEP 562), so `import nanodistil` costs some 20 ms, most of them for the standard library's
logging, which forking.py has to have ahead of it, and imports neither NumPy nor Numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nanodistil import forking as forking

__version__ = "0.1.0"

# public name -> module that defines it
_HOME = {
    "DistilBertConfig": "nanodistil.config",
    "DistilBertModel": "nanodistil.family.distilbert",
    "DistilBertForMaskedLM": "nanodistil.family.distilbert",
    "DistilBertForSequenceClassification": "nanodistil.family.distilbert",
    "DistilBertForTokenClassification": "nanodistil.family.distilbert",
    "DistilBertForQuestionAnswering": "nanodistil.family.distilbert",
    "DistilBertForMultipleChoice": "nanodistil.family.distilbert",
    "DistilBertTokenizer": "nanodistil.tokenization",
    "DistilBertTokenizerFast": "nanodistil.tokenization",
    "GPT2Tokenizer": "nanodistil.tokenization",
    "GPT2TokenizerFast": "nanodistil.tokenization",
    "RobertaTokenizer": "nanodistil.tokenization",
    "RobertaTokenizerFast": "nanodistil.tokenization",
    "AddedToken": "nanodistil.tokenization",
    "BatchEncoding": "nanodistil.tokenization",
    "AutoConfig": "nanodistil.auto",
    "AutoTokenizer": "nanodistil.auto",
    "AutoModel": "nanodistil.auto",
    "AutoModelForMaskedLM": "nanodistil.auto",
    "AutoModelForPreTraining": "nanodistil.auto",
    "AutoModelForSequenceClassification": "nanodistil.auto",
    "AutoModelForTokenClassification": "nanodistil.auto",
    "AutoModelForQuestionAnswering": "nanodistil.auto",
    "AutoModelForMultipleChoice": "nanodistil.auto",
    "AutoModelForCausalLM": "nanodistil.auto",
    "pipeline": "nanodistil.pipelines",
    "add_backend": "nanodistil.replacing",
    "Predictor": "nanodistil.bulk.predictor",
    "GenerationConfig": "nanodistil.generation.config",
    "LogitsProcessor": "nanodistil.generation.processing",
    "LogitsProcessorList": "nanodistil.generation.processing",
    "StoppingCriteria": "nanodistil.generation.stopping",
    "StoppingCriteriaList": "nanodistil.generation.stopping",
    "TextIteratorStreamer": "nanodistil.generation.streaming",
    "TextStreamer": "nanodistil.generation.streaming",
    "SentenceEncoder": "nanodistil.sentences.encoder",
    "CrossEncoder": "nanodistil.sentences.cross_encoder",
    "SparseEncoder": "nanodistil.sentences.sparse_encoder",
    "DataCollatorWithPadding": "nanodistil.collating",
    "DataCollatorForTokenClassification": "nanodistil.collating",
    "DataCollatorForLanguageModeling": "nanodistil.collating",
    "default_data_collator": "nanodistil.collating",
    "NanoDistilError": "nanodistil.weights.errors",
    "InputError": "nanodistil.weights.errors",
    "CheckpointError": "nanodistil.weights.errors",
    "ModelNotFoundError": "nanodistil.weights.errors",
    "MissingExtraError": "nanodistil.weights.errors",
    "DeviceError": "nanodistil.weights.errors",
}

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from nanodistil.auto import AutoConfig as AutoConfig
    from nanodistil.auto import AutoModel as AutoModel
    from nanodistil.auto import AutoModelForCausalLM as AutoModelForCausalLM
    from nanodistil.auto import AutoModelForMaskedLM as AutoModelForMaskedLM
    from nanodistil.auto import AutoModelForMultipleChoice as AutoModelForMultipleChoice
    from nanodistil.auto import AutoModelForPreTraining as AutoModelForPreTraining
    from nanodistil.auto import AutoModelForQuestionAnswering as AutoModelForQuestionAnswering
    from nanodistil.auto import AutoModelForSequenceClassification as AutoModelForSequenceClassification
    from nanodistil.auto import AutoModelForTokenClassification as AutoModelForTokenClassification
    from nanodistil.auto import AutoTokenizer as AutoTokenizer
    from nanodistil.bulk.predictor import Predictor as Predictor
    from nanodistil.collating import DataCollatorForLanguageModeling as DataCollatorForLanguageModeling
    from nanodistil.collating import DataCollatorForTokenClassification as DataCollatorForTokenClassification
    from nanodistil.collating import DataCollatorWithPadding as DataCollatorWithPadding
    from nanodistil.collating import default_data_collator as default_data_collator
    from nanodistil.config import DistilBertConfig as DistilBertConfig
    from nanodistil.family.distilbert import DistilBertForMaskedLM as DistilBertForMaskedLM
    from nanodistil.family.distilbert import DistilBertForMultipleChoice as DistilBertForMultipleChoice
    from nanodistil.family.distilbert import DistilBertForQuestionAnswering as DistilBertForQuestionAnswering
    from nanodistil.family.distilbert import DistilBertForSequenceClassification as DistilBertForSequenceClassification
    from nanodistil.family.distilbert import DistilBertForTokenClassification as DistilBertForTokenClassification
    from nanodistil.family.distilbert import DistilBertModel as DistilBertModel
    from nanodistil.generation.config import GenerationConfig as GenerationConfig
    from nanodistil.generation.processing import LogitsProcessor as LogitsProcessor
    from nanodistil.generation.processing import LogitsProcessorList as LogitsProcessorList
    from nanodistil.generation.stopping import StoppingCriteria as StoppingCriteria
    from nanodistil.generation.stopping import StoppingCriteriaList as StoppingCriteriaList
    from nanodistil.generation.streaming import TextIteratorStreamer as TextIteratorStreamer
    from nanodistil.generation.streaming import TextStreamer as TextStreamer
    from nanodistil.pipelines import pipeline as pipeline
    from nanodistil.replacing import add_backend as add_backend
    from nanodistil.sentences.cross_encoder import CrossEncoder as CrossEncoder
    from nanodistil.sentences.encoder import SentenceEncoder as SentenceEncoder
    from nanodistil.sentences.sparse_encoder import SparseEncoder as SparseEncoder
    from nanodistil.tokenization import AddedToken as AddedToken
    from nanodistil.tokenization import BatchEncoding as BatchEncoding
    from nanodistil.tokenization import DistilBertTokenizer as DistilBertTokenizer
    from nanodistil.tokenization import DistilBertTokenizerFast as DistilBertTokenizerFast
    from nanodistil.tokenization import GPT2Tokenizer as GPT2Tokenizer
    from nanodistil.tokenization import GPT2TokenizerFast as GPT2TokenizerFast
    from nanodistil.tokenization import RobertaTokenizer as RobertaTokenizer
    from nanodistil.tokenization import RobertaTokenizerFast as RobertaTokenizerFast
    from nanodistil.weights.errors import CheckpointError as CheckpointError
    from nanodistil.weights.errors import DeviceError as DeviceError
    from nanodistil.weights.errors import InputError as InputError
    from nanodistil.weights.errors import MissingExtraError as MissingExtraError
    from nanodistil.weights.errors import ModelNotFoundError as ModelNotFoundError
    from nanodistil.weights.errors import NanoDistilError as NanoDistilError


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None and name[:1].isupper():  # perhaps another family's class
        from nanodistil.family import FAMILIES

        home = next((module for module, beginning in FAMILIES.values() if name.startswith(beginning)), None)
    if home is None or not hasattr(module := import_module(home), name):
        raise AttributeError(f"module 'nanodistil' has no attribute {name!r}")
    globals()[name] = value = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
