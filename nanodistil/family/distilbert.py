"""DistilBERT (Sanh et al. 2019): the classes users know, the encoder alone and with each of the heads.

DistilBertModel                       ids -> hidden states
DistilBertForMaskedLM                 ids -> a score for every word of the vocabulary
DistilBertForSequenceClassification   ids -> a score for every class
DistilBertForTokenClassification      ids -> a score for every class, at every token
DistilBertForQuestionAnswering        ids -> where the answer starts and ends
DistilBertForMultipleChoice           several ids -> which of them fits
"""

from nanodistil.config import DistilBertConfig as DistilBertConfig
from nanodistil.heads.base import Encoder
from nanodistil.heads.masked_lm import ForMaskedLM
from nanodistil.heads.multiple_choice import ForMultipleChoice
from nanodistil.heads.question_answering import ForQuestionAnswering
from nanodistil.heads.sequence_classification import ForSequenceClassification
from nanodistil.heads.token_classification import ForTokenClassification


class DistilBertModel(Encoder, config_class=DistilBertConfig): ...


class DistilBertForMaskedLM(ForMaskedLM, config_class=DistilBertConfig): ...


class DistilBertForSequenceClassification(ForSequenceClassification, config_class=DistilBertConfig): ...


class DistilBertForTokenClassification(ForTokenClassification, config_class=DistilBertConfig): ...


class DistilBertForQuestionAnswering(ForQuestionAnswering, config_class=DistilBertConfig): ...


class DistilBertForMultipleChoice(ForMultipleChoice, config_class=DistilBertConfig): ...
