"""WordPiece as a compiled scan: UTF-8 bytes in, ids and offsets out.

What. The three steps of nanodistil/tokenization/wordpiece.py, which is the definition, in one pass over the bytes of a
batch. Each code point is looked up in a table that says what the normalizer makes of it; what comes out is collected,
as UTF-8 again, in a buffer that never holds more than one word; at the end of a word its pieces are looked up.

Why this way. The definition spends its time on Python objects: a match, a slice and a tuple for each word. Here a word
is a few bytes and a hash that grew while they came in. Three lookups follow, each asked only if the one before failed:

  whole word   is the word itself in the vocabulary? Nine of ten are, and the vocabulary's own hash table answers
  word cache   was this word cut before? One line a hash value, the latest word wins; nothing to evict, nothing to lock
  pieces       the longest prefix in the vocabulary, then the longest continuation, ...: hashes of all prefixes in one
               pass, then the table is asked from the longest to the shortest

Every lookup compares the bytes, so a collision costs time and never an id; and a cached word has the pieces it
would get again, so neither the state of the cache nor the number of threads shows in the result.

It checks no bounds and no UTF-8: the caller guarantees both. Canonical reordering of combining marks that survive is
left to the definition: a text that may need it is reported as HARD. One text is scanned by one thread.
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..runtime.atomics import claimed, given_back
from ..runtime.borrowed import borrowed
from ..runtime.jit import helper, kernel
from ..runtime.pool import all_threads, run

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Int = Any  # a Python int or an int64, which compiled code does not tell apart


class Table(NamedTuple):
    """The vocabulary.

    Why UTF-8 and no trie. Python encodes ASCII text by copying it, so the scan reads one byte a letter; and since a
    token is valid UTF-8, one that matches from the start of a character also ends at the end of one. A trie answers the
    third lookup in fewer steps, but takes longer to build than all else here together, and the third lookup is rare.
    """

    slots: Longs  # a hash table
    entries: Ints  # (n, 3): first byte, end, id
    tokens: Bytes  # the bytes of all tokens


class Rules(NamedTuple):
    """What becomes of a code point."""

    actions: Ints  # (0x110000,)
    expansions: Ints  # [n, element, ..., element] for each that becomes several


class Batch(NamedTuple):
    """What is to be scanned."""

    parts: Longs  # (P + 1, 2): the first text of a part, and where in `out` it writes
    texts: Longs  # (B + 1, 5): the text's first byte, first cut; out: first token, number of tokens; HARD? in and out
    cuts: Longs  # (C, 3): [start, end) in `data` of an added token, and its id; in order
    data: Bytes  # all texts, UTF-8


class Workspace(NamedTuple):
    """What n threads write to besides the result, a row each: the word cache, and scratch for one word."""

    taken: Longs  # (n,): which of the n rows are in use; each for one thread at a time
    keys: Bytes  # (n, lines, 2 + KEY): size of a word, number of its pieces, its bytes
    cached: Ints  # (n, lines, CACHED_PIECES, 2): the id of each piece, and its end in characters
    words: Bytes  # (n, ...): the characters of the word, UTF-8
    bounds: Ints  # (n, ..., 2): first byte of each character, and its place in the text
    hashes: Longs
    pieces: Ints


class Desk(NamedTuple):
    """What one thread has at hand: the vocabulary, the settings, and its row of the workspace."""

    table: Table
    settings: Longs
    keys: Bytes
    cached: Ints
    word: Bytes
    bounds: Ints
    hashes: Longs
    pieces: Ints


# What becomes of a code point, in the low bits of its action; above bit ARGUMENT stands a number.
WORD, SPACE, ALONE, DROP, ONE, MANY = range(6)  # itself; white space; a word by itself; nothing; another; expansions[n]
KIND = 7
MARK, SURVIVOR = 8, 16  # it brings combining marks; and such as stay after accents are stripped
ARGUMENT = 8
CODE = 0x1FFFFF  # of an expansion's element, whose kind (WORD, SPACE, ALONE) stands above
ELEMENT_KIND = 24

# Columns of `texts` (one row a text) and of `settings`.
BYTES, CUTS, FIRST, COUNT, HARD = range(5)
UNKNOWN, LONGEST_WORD, LONGEST_TOKEN, VOCABULARY, GROWTH, BEFORE, AFTER, ROOM, LEFT = range(9)
IDS, STARTS, ENDS, WORDS = range(4)  # rows of `out`

KEY, CACHED_PIECES = 24, 6  # bytes of a word and pieces of it that a line of the cache can hold
HASH = 0x7FFFFFFF
FIRST_PIECE, NEXT_PIECE = 0x11C9DC5, 0x2B8F3A7  # where the hash starts: continuations are words of another kind


# Put into the caller by force: twelve arrays passed to a function cost more than a word is worth. (LLVM would rather
# not, at their size; the rest of the kernels let it choose.)
forced = helper(forced=True)


@forced
def mixed(h: Int, byte: Int) -> Int:
    return ((h ^ byte) * 16777619) & HASH  # FNV-1a, one multiplication a byte


@forced
def find(table: Table, vocabulary: Int, word: Bytes, start: Int, end: Int, h: Int) -> Int:
    """The entry whose bytes are word[start:end], or -1; a continuation, from entries[vocabulary] on, if start > 0."""
    slots, entries, tokens = table
    mask = len(slots) - 1
    slot = (h ^ (h >> 15)) & mask
    while slots[slot] != 0:
        if slots[slot] >> 32 == h:
            entry = (slots[slot] & 0xFFFFFFFF) - 1
            at, size = entries[entry, 0], end - start
            if entries[entry, 1] - at == size and (entry >= vocabulary) == (start > 0):
                same = 0
                while same < size and tokens[at + same] == word[start + same]:
                    same += 1
                if same == size:
                    return entry
        slot = (slot + 1) & mask
    return -1


@kernel()
def insert(start: Int, stop: Int, slots: Longs, entries: Ints, tokens: Bytes, vocabulary: Int) -> None:
    """Fill the hash table, an array of zeros of a power of two, more than there are entries: hash << 32 | entry + 1."""
    mask = len(slots) - 1
    for entry in range(start, stop):
        h = np.int64(FIRST_PIECE if entry < vocabulary else NEXT_PIECE)
        for at in range(entries[entry, 0], entries[entry, 1]):
            h = mixed(h, np.int64(tokens[at]))
        slot = (h ^ (h >> 15)) & mask
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = (h << 32) | (entry + 1)


def fill_table(slots: Longs, entries: Ints, tokens: Bytes, vocabulary: int) -> None:
    """`insert` of all entries, by one thread."""
    run(insert, len(entries), slots, entries, tokens, vocabulary, least=len(entries))


@forced
def following(data: Bytes, at: Int) -> Int:
    return np.int64(data[at]) & 0x3F


@forced
def append(word: Bytes, at: Int, code: Int, h: Int) -> tuple[Int, Int]:
    """Write a code point at word[at:] as UTF-8. Returns where the next goes, and the hash with these bytes."""
    if code < 0x80:
        word[at] = code
        return at + 1, mixed(h, code)
    if code < 0x800:
        lead, more = 0xC0 | (code >> 6), 1
    elif code < 0x10000:
        lead, more = 0xE0 | (code >> 12), 2
    else:
        lead, more = 0xF0 | (code >> 18), 3
    word[at] = lead
    h = mixed(h, lead)
    for i in range(1, more + 1):
        byte = 0x80 | ((code >> (6 * (more - i))) & 0x3F)
        word[at + i] = byte
        h = mixed(h, byte)
    return at + more + 1, h


@forced
def write(out: Ints, k: Int, number: Int, start: Int, end: Int, n_word: Int) -> Int:
    out[IDS, k] = number
    out[STARTS, k] = start
    out[ENDS, k] = end
    out[WORDS, k] = n_word
    return k + 1


@forced
def cut(desk: Desk, n: Int) -> Int:
    """The third step of the definition: the longest match first, and no way back. Fills `pieces`, returns how many."""
    table, settings, word, bounds = desk.table, desk.settings, desk.word, desk.bounds
    entries, hashes, pieces = table.entries, desk.hashes, desk.pieces
    begin, count = 0, 0
    while begin < n:
        h = np.int64(NEXT_PIECE if begin else FIRST_PIECE)
        start = np.int64(bounds[begin, 0])
        end = begin
        while end < n and bounds[end + 1, 0] - start <= settings[LONGEST_TOKEN]:
            for i in range(bounds[end, 0], bounds[end + 1, 0]):
                h = mixed(h, np.int64(word[i]))
            end += 1
            hashes[end] = h
        entry = -1
        while end > begin:
            entry = find(table, settings[VOCABULARY], word, start, np.int64(bounds[end, 0]), hashes[end])
            if entry >= 0:
                break
            end -= 1
        if entry < 0:  # the word cannot be finished, and is lost as a whole
            pieces[0, 0], pieces[0, 1] = settings[UNKNOWN], n
            return 1
        pieces[count, 0], pieces[count, 1] = entries[entry, 2], end
        count += 1
        begin = end
    return count


@forced
def characters(data: Bytes, p: Int, end: Int) -> Int:
    """How many characters of UTF-8 begin in data[p:end]."""
    n = np.int64(0)
    for i in range(p, end):
        n += (data[i] & 0xC0) != 0x80
    return n


@forced
def cut_to(out: Ints, head: Int, k: Int, room: Int, left: Int) -> Int:
    """At most `room` of the tokens head..k of a text, the first or, if `left`, the last; -1: all. Where they end."""
    if not 0 <= room < k - head:
        return k
    if left:
        for i in range(room):
            for row in range(len(out)):
                out[row, head + i] = out[row, k - room + i]
    return head + room


@forced
def remembered(keys: Bytes, line: Int, word: Bytes, size: Int) -> bool:
    same = 0
    while size <= KEY and keys[line, 0] == size and same < size and keys[line, 2 + same] == word[same]:
        same += 1
    return same == size


@forced
def remember(keys: Bytes, cached: Ints, line: Int, word: Bytes, size: Int, pieces: Ints, count: Int) -> None:
    keys[line, 0], keys[line, 1] = size, count
    for i in range(size):
        keys[line, 2 + i] = word[i]
    for piece in range(count):
        cached[line, piece, 0], cached[line, piece, 1] = pieces[piece, 0], pieces[piece, 1]


@forced
def emit(desk: Desk, n: Int, last: Int, h: Int, out: Ints, k: Int, n_word: Int) -> Int:
    """Write the pieces of the word on the desk, of n characters and hash h. Returns the new end of `out`.

    last: place in the text of its last character, also if it is too long to be kept.
    """
    table, settings, keys, cached = desk.table, desk.settings, desk.keys, desk.cached
    word, bounds = desk.word, desk.bounds
    if n > settings[LONGEST_WORD]:
        return write(out, k, settings[UNKNOWN], np.int64(bounds[0, 1]), last + 1, n_word)
    begin, size = np.int64(0), np.int64(bounds[n, 0])
    entry = find(table, settings[VOCABULARY], word, begin, size, h)
    if entry >= 0:
        return write(out, k, np.int64(table.entries[entry, 2]), np.int64(bounds[0, 1]), last + 1, n_word)
    line = (h ^ (h >> 15)) & (len(keys) - 1)
    if remembered(keys, line, word, size):
        pieces, count = cached[line], np.int64(keys[line, 1])
    else:
        pieces, count = desk.pieces, cut(desk, n)
        if size <= KEY and count <= CACHED_PIECES:
            remember(keys, cached, line, word, size, pieces, count)
    for piece in range(count):
        number, end = np.int64(pieces[piece, 0]), np.int64(pieces[piece, 1])
        k = write(out, k, number, np.int64(bounds[begin, 1]), np.int64(bounds[end - 1, 1]) + 1, n_word)
        begin = end
    return k


@kernel()
def scan(
    start: Int,  # the first part to scan
    stop: Int,
    batch: Batch,
    rules: Rules,
    table: Table,
    workspace: Workspace,
    settings: Longs,
    out: Ints,  # (4, capacity): id, start, end and word of each token; word -1 for tokens put in
) -> None:
    """Scan the texts of some parts. The tokens of a part stand in `out` one after the other, those of a text too."""
    (parts, texts, cuts, data), (actions, expansions), mine = batch, rules, claimed(workspace.taken)
    word, bounds = borrowed(workspace.words[mine]), borrowed(workspace.bounds[mine])
    settings, out = borrowed(settings), borrowed(out)
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
    longest_word = settings[LONGEST_WORD]
    none: Int = np.int64(0)  # plain literals would make the helpers compile once more
    begun: Int = np.int64(FIRST_PIECE)
    count: Int
    element: Int
    code: Int
    kind: Int
    bounds[0, 0] = 0
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
                # One stretch of ordinary text, up to an added token or the end, which closes the last word.
                n, at, last, h, run, closed, ended = none, none, none, begun, 0, False, False
                while not (ended or hard):
                    while p < stretch_end and n < longest_word and not closed:  # an ASCII letter or digit, mostly
                        code = np.int64(data[p])
                        if code >= 0x80:
                            break
                        action = np.int64(actions[code])
                        if action & KIND == ONE:
                            code = action >> ARGUMENT
                        elif action != WORD:
                            break
                        if code >= 0x80:
                            break
                        word[at] = code
                        bounds[n, 1] = place
                        at, n, last, h, run = at + 1, n + 1, place, mixed(h, code), 0
                        bounds[n, 0] = at
                        p, place = p + 1, place + 1
                    if p >= stretch_end:
                        code, action, ended = none, np.int64(SPACE), True
                    else:
                        code = np.int64(data[p])
                        if code < 0x80:
                            p += 1
                        elif code < 0xE0:
                            code = (code & 0x1F) << 6 | following(data, p + 1)
                            p += 2
                        elif code < 0xF0:
                            code = (code & 0xF) << 12 | following(data, p + 1) << 6 | following(data, p + 2)
                            p += 3
                        else:
                            code = (code & 7) << 18 | following(data, p + 1) << 12
                            code |= following(data, p + 2) << 6 | following(data, p + 3)
                            p += 4
                        action = np.int64(actions[code])
                    kind, count, element = action & KIND, none + 1, none
                    if action & (MARK | SURVIVOR):
                        hard = run == SURVIVOR or (run != 0 and action & SURVIVOR != 0)
                        run = SURVIVOR if action & SURVIVOR else MARK
                    elif kind != DROP:
                        run = 0
                    if kind == ONE:
                        code, kind = action >> ARGUMENT, WORD
                    elif kind == MANY:
                        element = action >> ARGUMENT
                        count = np.int64(expansions[element])
                    elif kind == DROP:
                        count = 0
                    for _ in range(count):
                        if element:
                            element += 1
                            code = np.int64(expansions[element])
                            kind, code = code >> ELEMENT_KIND, code & CODE
                        if n and (closed or kind != WORD):
                            k = emit(desk, n, last, h, out, k, n_word)
                            n, at, h, n_word = none, none, begun, n_word + 1
                        closed = kind == ALONE
                        if kind != SPACE:
                            last = place
                            if n <= longest_word:
                                bounds[n, 1] = place
                                at, h = append(word, at, code, h)
                                n += 1
                                bounds[n, 0] = at
                    place += 1
                place -= ended
                if is_cut and not hard:
                    inside, p = place + characters(data, p, cuts[c, 1]), cuts[c, 1]
                    k = write(out, k, cuts[c, 2], place, inside, n_word)
                    place, n_word = inside, n_word + 1
            k = cut_to(out, head, k, settings[ROOM], settings[LEFT])
            if settings[AFTER] >= 0:
                k = write(out, k, settings[AFTER], none, none, none - 1)
            if hard:  # room for whatever the definition finds
                k = first + (end - texts[text, BYTES]) * settings[GROWTH] + 2
            texts[text, FIRST], texts[text, COUNT], texts[text, HARD] = first, k - first, hard
    given_back(workspace.taken, mine)


def scan_batch(
    batch: Batch, rules: Rules, table: Table, settings: Longs, out: Ints, workspaces: list[Workspace], lines: int
) -> None:
    """`scan` over all parts, on as many threads as there are, with one of `workspaces` or a new one."""
    workspace = workspace_of(workspaces, lines, int(settings[LONGEST_WORD]))
    run(scan, len(batch.parts) - 1, batch, rules, table, workspace, settings, out)
    workspaces.append(workspace)


def workspace_of(workspaces: list[Workspace], lines: int, longest_word: int) -> Workspace:
    """One of `workspaces`, taken out of them, that has room for all threads; or a new one."""
    workspace = None
    with contextlib.suppress(IndexError):  # none, or another thread was quicker
        while workspace is None or len(workspace.taken) < all_threads():
            workspace = workspaces.pop()
    if workspace is None or len(workspace.taken) < all_threads():
        workspace = new_workspace(all_threads(), lines, longest_word)
    return workspace


def new_workspace(n: int, lines: int, longest_word: int) -> Workspace:
    """For n threads: an empty word cache (a word has at least one byte) of a power of two lines, scratch for a word."""
    return Workspace(
        np.zeros(n, np.int64),
        np.zeros((n, lines, 2 + KEY), np.uint8),
        np.zeros((n, lines, CACHED_PIECES, 2), np.int32),
        np.empty((n, 4 * (longest_word + 2)), np.uint8),
        np.empty((n, longest_word + 2, 2), np.int32),
        np.empty((n, longest_word + 2), np.int64),
        np.empty((n, longest_word + 2, 2), np.int32),
    )
