"""STAR files as plain tables: the layer that knows the syntax and nothing of particles."""
from __future__ import annotations

import codecs
import re
from pathlib import Path

import numpy as np
from gemmi import cif

from ..core.errors import InputError
from .files import atomic_write, explained

# RELION takes a block under this line for its 3.1 format (Å shifts, optics groups)
VERSION_LINE = "# version 30001"
_ROWS_AT_ONCE = 50_000
_CHUNK = 1 << 22
_BEYOND_ASCII = re.compile(r"""(?<!\S)(?=\S*[^\x00-\x7f])[^'"#\s]\S*""")


def read_table(path, block=None):
    """One data block of a STAR file as a dict tag → values, tags without the leading underscore.

    block : name of the data_ block, e.g. "fsc"; None takes the first one.
    A loop gives arrays (n,), float64 or int64 where every value is a number, else text ('U'); single values
    (`_tag value`) give a Python number or str. A block that has both gives both.
    Raises InputError: no such file or block, not a STAR file.
    """
    document = read_document(path)
    names = [part.name.strip() for part in document]
    if block is not None and block not in names:
        raise InputError(f"{path} has no block data_{block}; it has {', '.join('data_' + name for name in names)}")
    found = document[names.index(block) if block is not None else 0]
    table = {}
    for item in found:
        if item.pair is not None:
            table[item.pair[0][1:]] = _as_numbers(np.array([cif.as_string(item.pair[1])]))[0].item()
        elif item.loop is not None:
            for tag in item.loop.tags:
                table[tag[1:]] = _as_numbers(np.array([cif.as_string(v) for v in found.find_loop(tag)]))
    return table


def write_table(path, tables):
    """Write a STAR file, atomically: tables is block name → (tag → values).

    Scalars and str become single lines, sequences of equal length one loop; floats keep 9 digits.
    Raises InputError where it can't be written, ValueError for columns of unequal length.
    """
    with atomic_write(path) as partial, open(partial, "wb") as file:
        for name, columns in tables.items():
            singles = {tag: v for tag, v in columns.items() if np.ndim(v) == 0}
            loops = {tag: np.asarray(v) for tag, v in columns.items() if np.ndim(v) > 0}
            write_header(file, name)
            for tag, value in singles.items():
                text = format_columns({tag: np.asarray([value])})[0](0, 1)[0]
                file.write(f"_{tag:<48} ".encode() + text.strip() + b"\n")
            if loops:
                write_loop(file, loops)
            file.write(b"\n")


def read_document(path):
    """The gemmi.cif.Document of a STAR file; InputError where it is missing, unreadable or no STAR file."""
    path = Path(path)
    ascii_only = _check_text(path)
    try:
        if ascii_only:
            document = cif.read_file(str(path))
        else:
            # the grammar wants letters beyond ASCII quoted, RELION writes them as they are
            document = cif.read_string(_BEYOND_ASCII.sub(_quote_match, path.read_text(encoding="utf-8")))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path} is not a readable STAR file: {str(error).replace(str(path) + ':', 'line ')}; "
                         "look at that line, or write the file again") from error
    if len(document) == 0:
        raise InputError(f"{path} has no data_ block; give a RELION STAR file")
    return document


def block_tags(block):
    """Tags of a gemmi block without the underscore, in the order in which they stand."""
    tags = []
    for item in block:
        if item.loop is not None:
            tags += item.loop.tags
        elif item.pair is not None:
            tags.append(item.pair[0])
    return [tag[1:] for tag in tags]


def text_column(block, tag):
    """A loop column (or single value) of a gemmi block as an 'S' array (n,), tokens exactly as they stand."""
    values = list(block.find_values("_" + tag))
    try:
        return np.array(values, dtype="S") if values else np.empty(0, "S1")
    except UnicodeEncodeError:
        # without the quotes that `read_document` added
        return np.array([(value if value.isascii() or len(value.split()) > 1 else cif.as_string(value)).encode("utf-8")
                         for value in values], dtype="S")


def number_column(block, tag, path):
    """A column of a gemmi block as float64 (n,); InputError naming row and value where it is no finite number."""
    column = block.find_values("_" + tag)
    try:
        numbers = np.fromiter((float(value) for value in column), np.float64, count=len(column))
    except ValueError:
        numbers = np.array([_float_or_nan(value) for value in column])
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if wrong.size:
        row = int(wrong[0])
        raise InputError(f"{path}: {tag} of row {row + 1} is '{column[row]}', not a finite number "
                         f"({wrong.size} such row(s)); correct or remove the row")
    return numbers


def write_header(file, block):
    """Version line and data_ line of a block, into a binary file."""
    file.write(f"\n{VERSION_LINE}\n\ndata_{block}\n\n".encode())


def write_loop(file, columns):
    """A loop_ into a binary file; columns: tag → array (n,) of text or numbers.

    Raises ValueError where the columns differ in length.
    """
    file.write(b"loop_\n")
    for number, tag in enumerate(columns, start=1):
        file.write(f"_{tag} #{number}\n".encode())
    write_rows(file, columns)


def write_rows(file, columns):
    """Rows of a loop whose tags are written, as `write_loop`."""
    lengths = {tag: len(values) for tag, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of one loop differ in length: {lengths}")
    readers = format_columns(columns)
    n = next(iter(lengths.values()), 0)
    for start in range(0, n, _ROWS_AT_ONCE):
        rows = zip(*(reader(start, min(start + _ROWS_AT_ONCE, n)) for reader in readers))
        file.write(b"\n".join(map(b" ".join, rows)) + b"\n")


def format_columns(columns):
    """For each column a function (start, stop) → list of bytes tokens, quoted where STAR needs it."""
    return [_formatter(np.asarray(values)) for values in columns.values()]


def _check_text(path):
    """Whether a file is ASCII; refuses one that can't be opened, with the system's reason, or is no UTF-8."""
    ascii_only = True
    decoder = codecs.getincrementaldecoder("utf-8")()
    with explained("read", path), open(path, "rb") as file:
        try:
            part = file.read(_CHUNK)
            while part:
                ascii_only &= decoder.decode(part).isascii()
                part = file.read(_CHUNK)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not a STAR file in UTF-8 text ({error.reason}); if a name has odd letters, "
                             "save it as UTF-8") from error
    return ascii_only


def _quote_match(match):
    token = match.group(0)
    return f"'{token}'" if "'" not in token else f'"{token}"'


def _formatter(values):
    if values.dtype.kind == "f":
        # six decimals as RELION writes them where that keeps the value, else nine digits
        fits = values.size == 0 or np.all(np.abs(values - np.round(values, 6)) <= 1e-9 * np.abs(values))
        template = b"%12.6f" if fits or _is_wide(values) else b"%13.9g"
        return lambda start, stop: [template % value for value in values[start:stop].tolist()]
    if values.dtype.kind in "iub":
        return lambda start, stop: [b"%5d" % value for value in values[start:stop].tolist()]
    if values.dtype.kind == "U":
        values = np.array([value.encode("utf-8") for value in values.tolist()], dtype="S")
    if values.dtype.kind != "S":
        raise ValueError(f"a STAR column can't hold {values.dtype}")
    return lambda start, stop: [_quoted(value) for value in values[start:stop].tolist()]


def _is_wide(values):
    """Whether six decimals cost nothing that matters: angles, Å and such, not small fractions."""
    return float(np.max(np.abs(values))) >= 10.0


def _quoted(token):
    if not token:
        return b'""'
    if token[:1] in (b"'", b'"') and token[-1:] == token[:1] and len(token) > 1:
        return token  # a token carried as it stood
    if token.startswith(b";") and b"\n" in token:
        return b"\n" + token + b"\n"
    if len(token.split()) > 1 or token[:1] in b"#_$'\"[" or token[:5].lower() in (b"data_", b"loop_"):
        return b'"' + token + b'"' if b'"' not in token else b"'" + token + b"'"
    return token


def _as_numbers(values):
    for kind in (np.int64, np.float64):
        try:
            return values.astype(kind)
        except (ValueError, OverflowError):
            continue
    return values


def _float_or_nan(text):
    try:
        return float(text)
    except ValueError:
        return float("nan")
