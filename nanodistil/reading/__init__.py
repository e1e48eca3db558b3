"""Files as lines and as records: text, JSONL, CSV and TSV, packed or not."""
