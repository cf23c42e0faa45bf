"""Changes to valid input that real faults and hostile hands make; each is chosen by a generator of numbers.

An own engine rather than hypothesis: an input is known by (seed, parser, number) alone, 20,000 of them take a
known time, and the tests need no further package. What is lost is the shrinking of failures.
"""

import json
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import google_crc32c
import numpy as np

Mutate = Callable[[np.random.Generator, Sequence[bytes]], bytes]

NUMBERS = (
    "0", "-1", "1", "255", "256", "2147483648", "-9223372036854775808", "18446744073709551616", "1e308",
    "1e-320", "0.5", "-0.0", "1" + "0" * 400, "9" * 5000, "NaN", "Infinity", "-Infinity", "1e999", "²", "٣",
    "0x10", "1_000",
)  # fmt: skip
TEXTS = (
    "", " ", "../../etc/passwd", "/etc/passwd", "a/../b", "..", ".", "\0", "a\0.png", "x" * 5000, "\ud800",
    "\udc80", "<script>alert(1)</script>", '" onload="x', "javascript:alert(1)", "{split}", "%s%n",
    "a=b=c", ",,,", "=",
    "é" * 300, "\u202e", "‮", "file:///etc/passwd", "nan", "true", "null", "None",
)  # fmt: skip
ENTITIES = (
    '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]>',
    '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE a [<!ENTITY % b SYSTEM "http://localhost/"> %b;]>',
    '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
)
ENCODINGS = ("utf-16", "utf-7", "idna", "zlib", "rot13", "cp037", "utf-8-sig", "shift_jis", "latin-1", "none")
WORDS = tuple(
    struct.pack(form, value) for form in ("<Q", ">Q", "<I", ">I") for value in (0, 1, 2**31, 2**32 - 1)
)
WORDS += tuple(struct.pack("<Q", value) for value in (2**60, 2**63, 2**64 - 1))


def bytes_changed(rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """Change a few places, whatever they mean."""
    data = _pick(rng, seeds)
    for _ in range(_count(rng)):
        data = _BYTE_CHANGES[rng.integers(len(_BYTE_CHANGES))](rng, data, seeds)
    return data


def text_changed(rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """Change the words and numbers of a line of text."""
    parts = re.split(r"(\w+|[^\w])", _pick(rng, seeds).decode())
    for _ in range(_count(rng)):
        place = rng.integers(len(parts))
        token = _pick(rng, (*NUMBERS, *TEXTS, *parts))
        parts[place : place + rng.integers(0, 3)] = [token]
    return "".join(parts).encode("utf-8", "surrogatepass")


def json_changed(rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """Change values, keys and nesting of a document; one in four is then changed as bytes too."""
    document = json.loads(_pick(rng, seeds))
    raw: list[str] = []
    for _ in range(_count(rng)):
        document = _change_node(rng, document, raw)
    text = json.dumps(document)
    for place, token in enumerate(raw):
        text = text.replace(f'"@raw{place}@"', token)
    data = text.encode()
    return bytes_changed(rng, [data]) if rng.random() < 0.25 else data


def xml_changed(rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """Change texts, tags, nesting, entities and encoding; one in four is then changed as bytes too."""
    text = _pick(rng, seeds).decode()
    for _ in range(_count(rng)):
        text = _XML_CHANGES[rng.integers(len(_XML_CHANGES))](rng, text)
    data = text.encode("utf-8", "surrogatepass")
    return bytes_changed(rng, [data]) if rng.random() < 0.25 else data


def frames_changed(rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """Change a TFRecord file; every second keeps true checksums over lengths that lie."""
    data = bytearray(_pick(rng, seeds))
    if rng.random() < 0.5:
        return bytes_changed(rng, [bytes(data)])
    starts, place = [], 0
    while place < len(data):
        starts.append(place)
        place += 16 + struct.unpack_from("<Q", data, place)[0]
    start = _pick(rng, starts)
    length = int(_pick(rng, (0, 1, len(data), 2**31, 2**60, 2**63, 2**64 - 1, 2**64 - 16)))
    data[start : start + 8] = struct.pack("<Q", length)
    data[start + 8 : start + 12] = _masked_checksum(bytes(data[start : start + 8]))
    return bytes(data)


def header_changed(rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """Change a safetensors file: its JSON header with a true length, or any bytes."""
    data = _pick(rng, seeds)
    if rng.random() < 0.3:
        return bytes_changed(rng, [data])
    length = int.from_bytes(data[:8], "little")
    header = json_changed(rng, [data[8 : 8 + length]])
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def packed_changed(rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """Change a MATLAB file within its compressed element, or any bytes."""
    data = _pick(rng, seeds)
    if data[128:132] != b"\x0f\0\0\0" or rng.random() < 0.3:
        return bytes_changed(rng, [data])
    inner = bytes_changed(rng, [zlib.decompress(data[136:])])
    if rng.random() < 0.02:
        inner += bytes(2**26)
    packed = zlib.compress(inner, 1)
    return data[:128] + struct.pack("<II", 15, len(packed)) + packed


def chunks_changed(rng: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """Change a PNG's chunks and give them true checksums, or change any bytes."""
    data = _pick(rng, seeds)
    if not data.startswith(b"\x89PNG") or rng.random() < 0.4:
        return bytes_changed(rng, [data])
    chunks, place = [], 8
    while place + 12 <= len(data):
        size = struct.unpack_from(">I", data, place)[0]
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    for _ in range(rng.integers(1, 3)):
        place = int(rng.integers(len(chunks)))
        kind, body = chunks[place]
        change = rng.integers(4)
        if change == 0:
            chunks[place] = kind, bytes_changed(rng, [body or b"\0"])
        elif change == 1:
            chunks.insert(int(rng.integers(len(chunks) + 1)), (kind, bytes_changed(rng, [body or b"\0"])))
        elif change == 2:
            chunks[place] = (
                _pick(rng, (b"IDAT", b"PLTE", b"tRNS", b"IHDR", b"iCCP", b"zTXt", b"acTL", b"eXIf")),
                body,
            )
        else:
            chunks.pop(place)
        chunks = chunks or [(b"IEND", b"")]
    framed = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return data[:8] + b"".join(framed)


def _masked_checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _pick(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _count(rng: np.random.Generator) -> int:
    """Choose how many changes an input gets: mostly one, so that what follows a check is reached too."""
    return _pick(rng, (1, 1, 1, 2, 3))


def _span(rng: np.random.Generator, data: bytes, longest: int = 64) -> tuple[int, int]:
    start = int(rng.integers(len(data) + 1))
    return start, min(len(data), start + int(rng.integers(1, longest)))


def _flip(rng: np.random.Generator, data: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(rng.integers(1, 9)):
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
    return bytes(changed)


def _truncate(rng: np.random.Generator, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: rng.integers(len(data) + 1)]


def _cut_out(rng: np.random.Generator, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _repeat(rng: np.random.Generator, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(rng, data)
    return data[:end] + data[start:end] * int(rng.integers(1, 50)) + data[end:]


def _splice(rng: np.random.Generator, data: bytes, seeds: Sequence[bytes]) -> bytes:
    other = _pick(rng, seeds)
    return data[: rng.integers(len(data) + 1)] + other[rng.integers(len(other) + 1) :]


def _overwrite(rng: np.random.Generator, data: bytes, _: Sequence[bytes]) -> bytes:
    word, place = _pick(rng, WORDS), int(rng.integers(len(data) + 1))
    return data[:place] + word + data[place + len(word) :]


def _insert(rng: np.random.Generator, data: bytes, _: Sequence[bytes]) -> bytes:
    place = int(rng.integers(len(data) + 1))
    return data[:place] + rng.bytes(int(rng.integers(1, 40))) + data[place:]


_BYTE_CHANGES = (_flip, _truncate, _cut_out, _repeat, _splice, _overwrite, _insert)


def _nodes(document: Any) -> list[tuple[Any, Any]]:
    """List (container, key) of all that is in a document."""
    found, todo = [], [document]
    while todo:
        node = todo.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        found += [(node, key) for key in keys]
        todo += [node[key] for key in keys]
    return found


def _change_node(rng: np.random.Generator, document: Any, raw: list[str]) -> Any:
    nodes = _nodes(document)
    if not nodes or rng.random() < 0.03:
        return _token(rng, document, raw)
    container, key = _pick(rng, nodes)
    change = rng.integers(6)
    if change == 0 and isinstance(container, dict):
        container[_pick(rng, TEXTS)] = container.pop(key)
    elif change == 1:
        del container[key]
    elif change == 2 and isinstance(container, list):
        container += [container[key]] * int(rng.integers(1, 5))
    elif change == 3:
        other, other_key = _pick(rng, nodes)
        container[key] = json.loads(json.dumps(other[other_key]))
    else:
        container[key] = _token(rng, container[key], raw)
    return document


def _token(rng: np.random.Generator, value: Any, raw: list[str]) -> Any:
    """Choose what stands in for a value: a number, a text, an empty or a deep container."""
    kind = rng.integers(8)
    if kind < 3:
        raw.append(
            _pick(rng, [number for number in NUMBERS if number.isascii() and number not in ("0x10", "1_000")])
        )
        return f"@raw{len(raw) - 1}@"
    if kind < 5:
        return _pick(rng, TEXTS)
    if kind == 5:
        depth = int(_pick(rng, (1, 3, 100, 900, 5000)))
        opening, closing = _pick(rng, (("[", "]"), ('{"a":', "}")))
        raw.append(opening * depth + "1" + closing * depth)
        return f"@raw{len(raw) - 1}@"
    return _pick(rng, (None, True, False, [], {}, [value], {"a": value}, [[]] * 3))


def _change_text(rng: np.random.Generator, text: str) -> str:
    places = [match.span() for match in re.finditer(r"(?<=>)[^<>]+(?=<)", text)]
    if not places:
        return text + _pick(rng, TEXTS)
    start, end = _pick(rng, places)
    return text[:start] + _pick(rng, (*NUMBERS, *TEXTS, "&b;", "&#0;", "&#xD800;", "<![CDATA[")) + text[end:]


def _change_tag(rng: np.random.Generator, text: str) -> str:
    tags = re.findall(r"</?\w+>", text)
    return (
        text.replace(_pick(rng, tags), _pick(rng, (*tags, "", "<a>", "<a b='c'>", "<a/>")), 1)
        if tags
        else text
    )


def _change_element(rng: np.random.Generator, text: str) -> str:
    places = [match.span() for match in re.finditer(r"<(\w+)>[^<>]*</\1>", text)]
    if not places:
        return text
    start, end = _pick(rng, places)
    return text[:start] + text[start:end] * int(rng.integers(0, 4)) + text[end:]


def _add_head(rng: np.random.Generator, text: str) -> str:
    heads = (*ENTITIES, *(f'<?xml version="1.0" encoding="{name}"?>' for name in ENCODINGS))
    return _pick(rng, heads) + text


def _nest(rng: np.random.Generator, text: str) -> str:
    depth, place = int(_pick(rng, (3, 1000, 20_000))), int(rng.integers(len(text) + 1))
    return text[:place] + "<a>" * depth + "</a>" * depth + text[place:]


_XML_CHANGES = (_change_text, _change_text, _change_text, _change_tag, _change_element, _add_head, _nest)
