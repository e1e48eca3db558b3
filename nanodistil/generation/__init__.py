"""From scores to texts: generate(), what it is told, and what stands between a model and its next token.

generating.py    generate() itself, with all checks
config.py        GenerationConfig; generation_config.json
decoding.py      the seam to a model: sequences that grow
plain.py         greedy and sampling      beams.py  beam search      guessing.py  several tokens ahead
ordering.py      which processors, in which order; they are in lengths, repeating, biases, rescaling, narrowing
stopping.py      when a text ends         streaming.py  text as it comes         drawing.py  draws
"""

from nanodistil.generation.biases import NoBadWordsLogitsProcessor as NoBadWordsLogitsProcessor
