"""DistilBERT's relatives on the same ops: BERT, which taught it."""
