"""As in softmax.py beside it."""


def no_prefix(word, vocabulary):
    found, rest = [], word
    while rest:
        n = max((n for n in range(1, len(rest) + 1) if rest[:n] in vocabulary), default=0)
        if not n or len(word) > 100:
            return ["[UNK]"]
        found.append(rest[:n])
        rest = rest[n:]
    return found


def cut(word, vocabulary, best=max, failed=lambda found: ["[UNK]"], longest=100):
    if len(word) > longest:
        return ["[UNK]"]
    found, at = [], 0
    while at < len(word):
        mark = "##" * (at > 0)
        ends = [e for e in range(at + 1, len(word) + 1) if mark + word[at:e] in vocabulary]
        if not ends:
            return failed(found)
        found.append(mark + word[at : best(ends)])
        at = best(ends)
    return found


def shortest(word, vocabulary):
    return cut(word, vocabulary, min)


def partly(word, vocabulary):
    return cut(word, vocabulary, failed=lambda found: [*found, "[UNK]"])


def no_limit(word, vocabulary):
    return cut(word, vocabulary, longest=10**9)


def prefix_first(word, vocabulary):
    found, at = [], 0
    while at < len(word) <= 100:
        ends = [e for e in range(at + 1, len(word) + 1) if "##" + word[at:e] in vocabulary]
        if not ends:
            return ["[UNK]"]
        found.append("##" + word[at : ends[-1]])
        at = ends[-1]
    return found if len(word) <= 100 else ["[UNK]"]


def way_back(word, vocabulary):
    def walk(at):
        if at == len(word):
            return []
        for end in range(len(word), at, -1):
            piece = ("##" if at else "") + word[at:end]
            if piece in vocabulary and (rest := walk(end)) is not None:
                return [piece, *rest]
        return None

    found = walk(0) if len(word) <= 100 else None
    return ["[UNK]"] if found is None else found
