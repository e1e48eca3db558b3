"""From tokens back to text: a guess, since white space, case and accents are gone.

Two clean-ups exist in the reference and both are kept. The decoder tidies token by token (a lone "." loses the space
before it); with `clean_up_tokenization_spaces` the whole string is tidied once more, which alone can see across
tokens: "i ' m" becomes "i'm". That second one is why two loads of the same model may print different texts.
"""

from collections.abc import Iterable

_TIDY = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
]
_TIDY_TOKEN = [*_TIDY[:7], (" do not", " don't"), *_TIDY[7:]]


def join(tokens: Iterable[str], prefix: str = "##", cleanup: bool = True) -> str:
    """Tokens as one string: "##" is glued on, anything else is put after a space; the first token stays as it is.

    >>> join(["hello", ",", "un", "##able", "'", "m", "."])
    "hello, unable ' m."
    >>> join(["##ing", "##ed", "x"])
    '##inged x'
    """
    parts = []
    for number, token in enumerate(tokens):
        if number:
            token = token.removeprefix(prefix) if token.startswith(prefix) else " " + token
        parts.append(_replace(token, _TIDY_TOKEN) if cleanup else token)
    return "".join(parts)


def clean_up(text: str) -> str:
    """Take out the spaces that English would not have.

    >>> clean_up("hello i ' m a role model .")
    "hello i'm a role model."
    """
    return _replace(text, _TIDY)


def _replace(text: str, pairs: list[tuple[str, str]]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text
