"""`eval "$(nanodistil completion bash)"`: verbs, options and choices at the press of a key.

The script is written from the parsers themselves whenever it is asked for, so it knows what this version knows, and
a shell that asks at its start is never behind. It holds nothing but tables: completing starts no Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

HELP = "print what makes a shell complete verbs, options and choices"
EXAMPLES = """examples:
  eval "$(nanodistil completion bash)"                   in ~/.bashrc
  eval "$(nanodistil completion zsh)"                    in ~/.zshrc, after compinit
  nanodistil completion fish > ~/.config/fish/completions/nanodistil.fish
"""


class Flag(NamedTuple):
    """An option: its spellings, what it says of itself, the words that may follow, and whether something must."""

    names: list[str]
    help: str
    choices: list[str]
    takes: bool


class Place(NamedTuple):
    """What may come after `words`, those of a verb and a task: the next such word with its help, and options."""

    words: list[str]
    next: dict[str, str]
    flags: list[Flag]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="whose language it is written in")


def run(args: argparse.Namespace) -> int:
    from nanodistil.cli.command import whole_parser

    print(SHELLS[args.shell](list(places(whole_parser(), []))))
    return 0


def places(parser: argparse.ArgumentParser, words: list[str]) -> Iterator[Place]:
    """All places of a command line, from the outside in."""
    flags, following, inner = [], dict[str, str](), {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner = dict(action.choices)
            following |= {one.dest: one.help or "" for one in action._choices_actions}
        elif action.option_strings:
            takes = action.nargs != 0
            flags.append(Flag(list(action.option_strings), action.help or "", list(action.choices or ()), takes))
        else:
            following |= dict.fromkeys(action.choices or (), "")
    yield Place(words, following, flags)
    for word, sub in inner.items():
        yield from places(sub, [*words, word])


def bash(found: list[Place]) -> str:
    """For bash; if nothing fits, names of files do."""
    known = " | ".join(quoted(" ".join(place.words)) for place in found if place.words)
    table, values = [], []
    for place in found:
        names = [name for flag in place.flags for name in flag.names]
        words, where = " ".join(place.next), " ".join(place.words)
        table.append(f"        {quoted(where)}) words={quoted(words)} flags={quoted(' '.join(names))} ;;")
        for flag in place.flags:
            if flag.takes:
                keys = " | ".join(quoted(f"{where} {name}") for name in flag.names)
                values.append(f"        {keys}) values={quoted(' '.join(flag.choices))} takes=1 ;;")
    filled = BASH.replace("KNOWN", known).replace("TABLE", "\n".join(table)).replace("VALUES", "\n".join(values))
    return filled.strip()


def zsh(found: list[Place]) -> str:
    """For zsh, which reads bash's."""
    return "autoload -U +X bashcompinit && bashcompinit\n" + bash(found)


def fish(found: list[Place]) -> str:
    """For fish."""
    lines = ["complete -c nanodistil -e"]
    for place in found:
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in place.words)
        further = f"not __fish_seen_subcommand_from {' '.join(place.next)}" if place.next else ""
        when = "; and ".join(filter(None, (seen, further)))
        begin = f"complete -c nanodistil{f' -n {quoted(when)}' if when else ''}"
        lines += [f"{begin} -f -a {word} -d {quoted(help)}" for word, help in place.next.items()]
        for flag in place.flags:
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in flag.names)
            value = f" -x -a {quoted(' '.join(flag.choices))}" if flag.choices else " -r" if flag.takes else ""
            lines.append(f"{begin} {names}{value} -d {quoted(flag.help)}")
    return "\n".join(lines)


def quoted(text: str) -> str:
    """One word of a shell, of any of the three.

    >>> print(quoted("a model's"))
    'a models'
    """
    return "'" + text.replace("'", "").replace("\\", "") + "'"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
BASH = r"""
_nanodistil() {
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"
    local place="" words="" flags="" values="" takes="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${place:+$place }${COMP_WORDS[i]}" in
            KNOWN) place="${place:+$place }${COMP_WORDS[i]}" ;;
        esac
    done
    case "$place" in
TABLE
    esac
    case "$place $prev" in
VALUES
    esac
    if [ -n "$takes" ]; then
        COMPREPLY=($(compgen -W "$values" -- "$cur"))
    else
        case "$cur" in
            -*) COMPREPLY=($(compgen -W "$flags" -- "$cur")) ;;
            *) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
        esac
    fi
}
complete -o default -F _nanodistil nanodistil
"""
