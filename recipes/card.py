"""The card of a model inside the package: `python recipes/card.py NAME MODEL EVALUATION...`.

cards/NAME.md says what no script can: what it is for, the data and their licences, biases. Under it go the figures of
`nanodistil evaluate`, or of a script here, one EVALUATION "what it is measured on: its arguments" each, and the ten
sentences of sceptic.py with what MODEL says of them, right or wrong. All of it becomes the README.md of the model's
folder.
"""

import shlex
import subprocess
import sys
from pathlib import Path

from nanodistil.weights.embedded import HOME

HERE = Path(__file__).parent
MORE = {"sentences": ("topics", "Ten texts, sorted by `zero-shot`")}  # what else a model is asked


def output(*command: str) -> str:
    return subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True).stdout


def figures(model: str, evaluations: list[str]) -> str:
    """A section for each: what `nanodistil evaluate` prints, or the script that is named."""
    parts = []
    for told in evaluations:
        name, _, arguments = told.partition(": ")
        first, *rest = shlex.split(arguments)
        if first.endswith(".py"):
            table = output(str(HERE / first), model, *rest)
        else:
            table = output("-m", "nanodistil", "evaluate", first, *rest, "--model", model)
        parts.append(f"{name}:\n\n```\n{table.rstrip()}\n```\n")
    return "\n".join(parts)


def main(name: str, model: str, evaluations: list[str]) -> None:
    task = name.rpartition("-")[2]
    text = (HERE / "cards" / f"{task}.md").read_text(encoding="utf-8")
    text += f"\n## Figures\n\n{figures(model, evaluations)}"
    for kind, title in [(task, "Ten sentences"), *([MORE[task]] if task in MORE else [])]:
        text += f"\n## {title}\n\n```\n{output(str(HERE / 'sceptic.py'), kind, model).rstrip()}\n```\n"
    (HOME / name / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
