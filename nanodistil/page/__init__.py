"""One text through one model, as a file that a browser opens: attention, lens, attribution, heads, neighbours, plane.

    page = nanodistil.page.page("Hello I'm a [MASK] model.")
    page.save("page.html")          in a notebook: page

Everything on the page is computed here, beforehand, by the model's own kernels; the file holds the numbers and a script
that draws them, and asks nobody for anything.

    question.py      what is asked of a text, and which scores are explained
    running.py       the model's own functions, on sentences of one length; labels.py, tokens as people read them
    lens.py, attributing.py, erasing.py, rollout.py, ablation.py, projecting.py
                     one way to look each, which may be used without any page
    findings.py      all of them together, as what the page is told; compact.py, arrays in a text
    drawing.py       page.html with that in it; made.py: `page`, and what it gives
"""

from nanodistil.page.made import Page as Page
from nanodistil.page.made import page as page
