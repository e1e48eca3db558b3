"""Byte-level BPE as a compiled scan: UTF-8 bytes in, ids and offsets out.

What. The work of nanodistil/tokenization/byte_level.py and bpe.py, which are the definition, in one pass over the bytes
of a batch: GPT-2's pattern as a few comparisons of what sort of character comes next, and for each word three lookups,
each asked only if the one before failed, as in wordpiece.py, whose tables and workspace these are:

  whole word   is the word a token, and one that its own merges lead to? Nineteen of twenty are
  word cache   was this word merged before? One line a hash value, the latest word wins
  merges       the best of all neighbours, again and again, by a loop over the word: words are short

The loop is quadratic in the word, so words of more than LONGEST bytes are not for it: their text is reported as HARD
and left to the definition, whose heap is not.

Why it is the same. The definition takes the pair of the lowest rank, the leftmost of equal ones; and an entry of its
heap that is out of date is told by the token it would make. So does this, as long as no two merges make the same token;
the caller sees to that, and that every byte has a token.

What it does not do. It checks no bounds and no UTF-8: the caller guarantees both. One text is scanned by one thread.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..runtime.atomics import claimed, given_back
from ..runtime.borrowed import borrowed
from ..runtime.jit import helper, kernel
from ..runtime.pool import run
from .wordpiece import (
    BYTES,
    CACHED_PIECES,
    COUNT,
    CUTS,
    FIRST,
    FIRST_PIECE,
    HARD,
    KEY,
    Batch,
    Bytes,
    Desk,
    Int,
    Ints,
    Longs,
    Table,
    Workspace,
    characters,
    cut_to,
    fill_table,
    find,
    following,
    mixed,
    new_workspace,
    remember,
    remembered,
    workspace_of,
    write,
)

__all__ = ["Batch", "Rules", "Table", "fill_pairs", "fill_table", "leading_to_themselves", "scan_batch"]


class Rules(NamedTuple):
    """What is so for one tokenizer. Batch.cuts has two more columns here: an added token's spaces; out: its word."""

    sorts: Bytes  # (0x110000,): OTHER, LETTER, NUMBER or SPACE
    of_byte: Longs  # (256,): the token of each byte
    pairs: Longs  # (slots, 2): two ids as LEFT_ID * a + b, plus 1; rank << 32 | the id they become
    spaces: Longs  # id -> spaces that it begins with << 16 | spaces that it ends with


OTHER, LETTER, NUMBER, SPACE = range(4)
ADDS, TRIMS, GROWTH, BEFORE, AFTER, ROOM, LEFT = range(7)  # of settings
SPACES = 4  # a fifth row of `out`
LONGEST = 1000  # bytes of a word
LEFT_ID = 1 << 24
NEVER = 1 << 62

forced = helper(forced=True)


@forced
def slot_of(pair: Int, mask: Int) -> Int:
    return ((pair * 0x2545F491) >> 11 ^ pair) & mask


@forced
def merge_of(pairs: Longs, a: Int, b: Int) -> Int:
    """rank << 32 | id of the merge of two ids; NEVER if there is none."""
    pair, mask = a * LEFT_ID + b, len(pairs) - 1
    slot = slot_of(pair, mask)
    while pairs[slot, 0] != 0:
        if pairs[slot, 0] == pair + 1:
            return pairs[slot, 1]
        slot = (slot + 1) & mask
    return np.int64(NEVER)


@kernel()
def insert_pairs(start: Int, stop: Int, pairs: Longs, merges: Longs) -> None:
    """merges: (n, 3), two ids and what they become, by rank. pairs: zeros of a power of two, more than n."""
    mask = len(pairs) - 1
    for rank in range(start, stop):
        pair = merges[rank, 0] * LEFT_ID + merges[rank, 1]
        slot = slot_of(pair, mask)
        while pairs[slot, 0] != 0:
            slot = (slot + 1) & mask
        pairs[slot, 0], pairs[slot, 1] = pair + 1, rank << 32 | merges[rank, 2]


def fill_pairs(pairs: Longs, merges: Longs) -> None:
    """`insert_pairs` of all merges, by one thread."""
    run(insert_pairs, len(merges), pairs, merges, least=len(merges))


@forced
def merge(rules: Rules, word: Bytes, n: Int, ranks: Longs, pieces: Ints) -> Int:
    """All merges of a word of n bytes. Fills `pieces` with ids and where they end, returns how many."""
    of_byte, pairs = rules.of_byte, rules.pairs
    for i in range(n):
        pieces[i, 0], pieces[i, 1] = of_byte[word[i]], i + 1
    for i in range(n - 1):
        ranks[i] = merge_of(pairs, np.int64(pieces[i, 0]), np.int64(pieces[i + 1, 0]))
    count = n
    while count > 1:
        best, at = np.int64(NEVER), -1
        for i in range(count - 1):
            if ranks[i] < best:
                best, at = ranks[i], i
        if at < 0:
            break
        count -= 1
        pieces[at, 0], pieces[at, 1] = best & 0xFFFFFFFF, pieces[at + 1, 1]
        for i in range(at + 1, count):
            pieces[i, 0], pieces[i, 1] = pieces[i + 1, 0], pieces[i + 1, 1]
            ranks[i] = ranks[i + 1]
        if at > 0:
            ranks[at - 1] = merge_of(pairs, np.int64(pieces[at - 1, 0]), np.int64(pieces[at, 0]))
        if at < count - 1:
            ranks[at] = merge_of(pairs, np.int64(pieces[at, 0]), np.int64(pieces[at + 1, 0]))
    return count


@kernel()
def check(start: Int, stop: Int, entries: Ints, tokens: Bytes, rules: Rules, scratch: Workspace, kept: Bytes) -> None:
    """Whether each entry's bytes, as a word, become the entry's id alone."""
    word, ranks, pieces = scratch.words[0], scratch.hashes[0], scratch.pieces[0]
    for entry in range(start, stop):
        first, size = np.int64(entries[entry, 0]), np.int64(entries[entry, 1] - entries[entry, 0])
        if 0 < size <= LONGEST:
            for i in range(size):
                word[i] = tokens[first + i]
            kept[entry] = merge(rules, word, size, ranks, pieces) == 1 and pieces[0, 0] == entries[entry, 2]


def leading_to_themselves(entries: Ints, tokens: Bytes, rules: Rules) -> NDArray[np.bool_]:
    """`check` of all entries, by one thread: which of them may be looked up as a whole."""
    kept = np.zeros(len(entries), np.uint8)
    run(check, len(entries), entries, tokens, rules, new_workspace(1, 1, LONGEST), kept, least=len(entries))
    return kept != 0


@forced
def code_at(data: Bytes, p: Int) -> tuple[Int, Int]:
    """The code point at p, and how many bytes it has."""
    code = np.int64(data[p])
    if code < 0x80:
        return code, np.int64(1)
    if code < 0xE0:
        return (code & 0x1F) << 6 | following(data, p + 1), np.int64(2)
    if code < 0xF0:
        return (code & 0xF) << 12 | following(data, p + 1) << 6 | following(data, p + 2), np.int64(3)
    low = following(data, p + 2) << 6 | following(data, p + 3)
    return (code & 7) << 18 | following(data, p + 1) << 12 | low, np.int64(4)


@forced
def contraction(data: Bytes, p: Int, end: Int) -> Int:
    """Bytes of 's, 't, 'm, 'd, 're, 've or 'll at p; 0 if there is none."""
    if data[p] != 0x27 or p + 1 >= end:
        return np.int64(0)
    a = data[p + 1]
    if a in (0x73, 0x74, 0x6D, 0x64):
        return np.int64(2)
    if p + 2 < end:
        b = data[p + 2]
        if (a in (0x72, 0x76) and b == 0x65) or (a == 0x6C and b == 0x6C):
            return np.int64(3)
    return np.int64(0)


@forced
def emit(desk: Desk, rules: Rules, n: Int, h: Int, out: Ints, k: Int, n_word: Int) -> Int:
    """Write the tokens of the word on the desk, of n bytes and hash h. Returns the new end of `out`."""
    table, keys, cached, word, bounds = desk.table, desk.keys, desk.cached, desk.word, desk.bounds
    begin = np.int64(0)
    entry = find(table, len(table.entries), word, begin, n, h)
    if entry >= 0:
        number = np.int64(table.entries[entry, 2])
        k = write(out, k, number, np.int64(bounds[0, 0]), np.int64(bounds[n - 1, 0]) + 1, n_word)
        out[SPACES, k - 1] = rules.spaces[number]
        return k
    line = (h ^ (h >> 15)) & (len(keys) - 1)
    if remembered(keys, line, word, n):
        pieces, count = cached[line], np.int64(keys[line, 1])
    else:
        pieces, count = desk.pieces, merge(rules, word, n, desk.hashes, desk.pieces)
        if n <= KEY and count <= CACHED_PIECES:
            remember(keys, cached, line, word, n, pieces, count)
    for piece in range(count):
        number, end = np.int64(pieces[piece, 0]), np.int64(pieces[piece, 1])
        k = write(out, k, number, np.int64(bounds[begin, 0]), np.int64(bounds[end - 1, 0]) + 1, n_word)
        out[SPACES, k - 1] = rules.spaces[number]
        begin = end
    return k


@forced
def trim(out: Ints, k: Int, keeps_first: Int) -> None:
    """`trimmed` of tokenization/trimming.py."""
    leading, trailing = np.int64(out[SPACES, k]) >> 16, np.int64(out[SPACES, k]) & 0xFFFF
    if leading > 1 or (leading == 1 and not keeps_first):
        out[1, k] = min(out[1, k] + leading, out[2, k])
    if trailing and out[2, k] >= trailing:
        out[2, k] = max(out[2, k] - trailing, out[1, k])


@kernel()
def scan(
    start: Int,  # the first part to scan
    stop: Int,
    batch: Batch,
    rules: Rules,
    table: Table,
    workspace: Workspace,
    settings: Longs,
    out: Ints,  # (5, capacity): id, start, end, word and spaces of each token; word -1 for tokens put in
) -> None:
    """Scan the texts of some parts. The tokens of a part stand in `out` one after the other, those of a text too."""
    (parts, texts, cuts, data), mine = batch, claimed(workspace.taken)
    word, bounds = borrowed(workspace.words[mine]), borrowed(workspace.bounds[mine])
    settings, out, sorts = borrowed(settings), borrowed(out), borrowed(rules.sorts)
    rules = Rules(sorts, borrowed(rules.of_byte), borrowed(rules.pairs), borrowed(rules.spaces))
    desk = Desk(
        Table(borrowed(table.slots), borrowed(table.entries), borrowed(table.tokens)),
        settings,
        borrowed(workspace.keys[mine]),
        borrowed(workspace.cached[mine]),
        word,
        bounds,
        borrowed(workspace.hashes[mine]),
        borrowed(workspace.pieces[mine]),
    )
    none: Int = np.int64(0)  # plain literals would make the helpers compile once more
    begun: Int = np.int64(FIRST_PIECE)
    for part in range(start, stop):
        k = parts[part, 1]
        for text in range(parts[part, 0], parts[part + 1, 0]):
            first = k
            if settings[BEFORE] >= 0:
                k = write(out, k, settings[BEFORE], none, none, none - 1)
            head = k
            p, end = texts[text, BYTES], texts[text + 1, BYTES]
            place, n_word, hard = none, none, texts[text, HARD] != 0
            for c in range(texts[text, CUTS], texts[text + 1, CUTS] + 1):
                is_cut = c < texts[text + 1, CUTS]
                stretch_end = cuts[c, 0] if is_cut else end
                added = settings[ADDS] != 0 and p < stretch_end and data[p] != 0x20
                while p < stretch_end and not hard:
                    n, h, until = none, begun, p
                    if added or data[p] == 0x20:  # the space before a word
                        code, size = code_at(data, p if added else min(p + 1, stretch_end - 1))
                        if added or sorts[code] != SPACE:
                            word[0], bounds[0, 0], n, h = 0x20, place, n + 1, mixed(begun, none + 0x20)
                            p, place = p + (not added), place + (not added)
                    else:
                        until = p + contraction(data, p, stretch_end)
                    sort = OTHER
                    if until == p or n:
                        code, size = code_at(data, p)
                        sort = sorts[code]
                        until = p + size
                        if sort == SPACE:
                            last = p
                            while until < stretch_end:
                                code, size = code_at(data, until)
                                if sorts[code] != SPACE:
                                    break
                                last, until = until, until + size
                            if until < stretch_end and (last > p or added):
                                until = last
                        else:
                            while until < stretch_end:
                                code, size = code_at(data, until)
                                if sorts[code] != sort:
                                    break
                                until += size
                    added = False
                    hard = n + until - p > LONGEST
                    while p < until and not hard:
                        byte = np.int64(data[p])
                        place += (byte & 0xC0) != 0x80
                        word[n], bounds[n, 0], h = byte, place - 1, mixed(h, byte)
                        n, p = n + 1, p + 1
                    if not hard:
                        k = emit(desk, rules, n, h, out, k, n_word)
                        n_word += 1
                if is_cut and not hard:
                    inside, p = place + characters(data, p, cuts[c, 1]), cuts[c, 1]
                    k = write(out, k, cuts[c, 2], place, inside, n_word)
                    out[SPACES, k - 1] = cuts[c, 3]
                    cuts[c, 4] = n_word
                    place, n_word = inside, n_word + 1
            if not hard:
                k = cut_to(out, head, k, settings[ROOM], settings[LEFT])
            if settings[TRIMS] >= 0 and not hard:
                for i in range(head, k):
                    if out[SPACES, i]:
                        trim(out, i, settings[TRIMS] and (i == head or out[1, i] == 0))
            if settings[AFTER] >= 0:
                k = write(out, k, settings[AFTER], none, none, none - 1)
            if hard:  # room for whatever the definition finds
                k = first + (end - texts[text, BYTES]) * settings[GROWTH] + 2
            texts[text, FIRST], texts[text, COUNT], texts[text, HARD] = first, k - first, hard
    given_back(workspace.taken, mine)


def scan_batch(
    batch: Batch, rules: Rules, table: Table, settings: Longs, out: Ints, workspaces: list[Any], lines: int
) -> None:
    """`scan` over all parts, on as many threads as there are, with one of `workspaces` or a new one."""
    workspace = workspace_of(workspaces, lines, LONGEST)
    run(scan, len(batch.parts) - 1, batch, rules, table, workspace, settings, out)
    workspaces.append(workspace)
