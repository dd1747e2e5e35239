"""Small ONNX files, written field by field, so that any of them can be wrong."""

from __future__ import annotations

import numpy as np

FLOAT32, INT64 = 1, 7


def varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def fields(*pairs: tuple[int, int | str | bytes]) -> bytes:
    """A message of numbered fields: integers, text, or bytes that may be messages."""
    message = b""
    for number, value in pairs:
        if isinstance(value, int):
            message += varint(number << 3) + varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            message += varint(number << 3 | 2) + varint(len(content)) + content
    return message


def tensor(name: str, values: np.ndarray, dims=None, outside: dict[str, str] | None = None) -> bytes:
    kind = {np.dtype(np.float32): FLOAT32, np.dtype(np.int64): INT64}[values.dtype]
    pairs: list = [(1, n) for n in dims or values.shape] + [(2, kind), (8, name)]
    if outside is None:
        return fields(*pairs, (9, values.tobytes()))
    return fields(*pairs, *((13, fields((1, key), (2, value))) for key, value in outside.items()), (14, 1))


def ints(name: str, values) -> bytes:
    """An attribute of several integers."""
    return fields((1, name), *((8, value) for value in values), (20, 7))


def node(operator: str, inputs, outputs, attributes=(), domain: str = "") -> bytes:
    ports = [(1, name) for name in inputs] + [(2, name) for name in outputs]
    return fields(*ports, (4, operator), *((5, a) for a in attributes), *([(7, domain)] if domain else []))


def port(name: str, shape, kind: int = FLOAT32) -> bytes:
    """An input or output; a dimension that is a word is free."""
    dims = [(1, fields((1, n) if isinstance(n, int) else (2, n))) for n in shape]
    return fields((1, name), (2, fields((1, fields((1, kind), (2, fields(*dims)))))))


def model(nodes, weights, inputs, outputs, version: int = 17, more=()) -> bytes:
    graph = fields(
        *((1, one) for one in nodes),
        (2, "network"),
        *((5, one) for one in weights),
        *((11, one) for one in inputs),
        *((12, one) for one in outputs),
    )
    return fields((1, 8), (7, graph), (8, fields((2, version))), *more)


def convolution(
    weight: np.ndarray, bias: np.ndarray, size=("k", "j", "i"), final: str = "", outside=None, **changes
) -> bytes:
    """One convolution of an image, padded so that the size stays; then perhaps a softmax or sigmoid."""
    classes, channels, *kernel = weight.shape
    scores = "scores" if final else "labels"
    nodes = [node("Conv", ["image", "weight", "bias"], [scores], [ints("pads", [n // 2 for n in kernel] * 2)])]
    if final:
        axis = [fields((1, "axis"), (3, 1), (20, 2))] if final == "Softmax" else []
        nodes.append(node(final, ["scores"], ["labels"], axis))
    return model(
        changes.get("nodes", nodes),
        changes.get("weights", [tensor("weight", weight, outside=outside), tensor("bias", bias)]),
        changes.get("inputs", [port("image", (1, channels, *size))]),
        changes.get("outputs", [port("labels", (1, classes, *size))]),
        more=changes.get("more", ()),
    )
