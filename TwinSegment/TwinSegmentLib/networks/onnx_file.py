"""ONNX files, read as far as is needed to know that they hold a network of standard operators, whole, and no more.

An ONNX file is a protocol buffer (https://onnx.ai/onnx/repo-docs/IR.html): fields, each with a number and a value, and
messages within them. The few that matter here are walked; what executes the file, OpenVINO, sees it only after that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from TwinCore import InvalidInput

from .onnx_operators import OPERATORS
from .program_file import INSTEAD, program_in

LARGEST_FILE = 2_000_000_000
MOST_FIELDS = 2_000_000
STANDARD = ("", "ai.onnx")
BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Of a number, by its type in a tensor: float32 is 1, int64 is 7."""

FLOAT32 = 1


@dataclass(frozen=True)
class Port:
    """An input or output of the network: its name, the type of its numbers, and its size; None where that is free."""

    name: str
    type: int
    shape: tuple[int | None, ...]


@dataclass
class OnnxGraph:
    """What a file says of its network.

    Parameters
    ----------
    inputs, outputs : list of Port
        Weights are not inputs.
    made_by : dict of str to str
        By name of a result, the operator that makes it.
    outside : list of Path
        Files beside it that hold weights.
    """

    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    made_by: dict[str, str] = field(default_factory=dict)
    outside: list[Path] = field(default_factory=list)


def read_onnx(path: Path) -> OnnxGraph:
    """The inputs and outputs of a file in which all is as it should be.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InvalidInput
        If the file is damaged or no ONNX file, is larger than 2 GB, has operators that are not standard or hold
        networks of their own (loops, branches), weights that are not all there, or weights in files elsewhere than
        beside it. The message names what it is.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"it has {path.stat().st_size} bytes, and {LARGEST_FILE} are the most")
        return _Reader(path).graph
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path.name} is not an ONNX file that can be used: {error}.") from error


class _Reader:
    """One walk over a file."""

    def __init__(self, path: Path):
        self._folder, self._left = path.parent, MOST_FIELDS
        self.graph, self._weights = OnnxGraph(), set[str]()
        program = program_in(path)
        if program:
            raise ValueError(f"{program} {INSTEAD}")
        data = path.read_bytes()
        model: dict[int, list] = {}
        for number, value in self._fields(memoryview(data)):
            model.setdefault(number, []).append(value)
        graphs = [g for g in model.get(7, []) if isinstance(g, memoryview)]
        if len(graphs) != 1 or not isinstance(model.get(1, [None])[0], int):
            raise ValueError("it holds no network, or is something else")
        if 25 in model:
            raise ValueError("it defines functions of its own")
        self._graph(graphs[0])

    def _fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Numbers and values of a message's fields: an integer, or bytes that may be a message."""
        at = 0
        while at < len(data):
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"it has more than {MOST_FIELDS} fields")
            key, at = _varint(data, at)
            kind = key & 7
            if kind == 0:
                value, at = _varint(data, at)
                yield key >> 3, value
                continue
            if kind not in (1, 2, 5):
                raise ValueError(f"byte {at} is not part of a protocol buffer")
            size, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            if at + size > len(data):
                raise ValueError("it ends too early")
            yield key >> 3, data[at : at + size]
            at += size

    def _graph(self, data: memoryview) -> None:
        ports: dict[int, list[Port]] = {11: [], 12: []}
        for number, value in self._fields(data):
            if number == 1:
                self._node(_message(value))
            elif number == 5:
                self._weights.add(self._tensor(_message(value)))
            elif number in ports:
                ports[number].append(self._port(_message(value)))
            elif number == 15:
                raise ValueError("it has sparse weights")
        self.graph.inputs = [port for port in ports[11] if port.name not in self._weights]
        self.graph.outputs = ports[12]

    def _node(self, data: memoryview) -> None:
        operator, domain, results = "", "", []
        for number, value in self._fields(data):
            if number == 2:
                results.append(_text(value))
            elif number == 4:
                operator = _text(value)
            elif number == 7:
                domain = _text(value)
            elif number == 5:
                self._attribute(_message(value))
        if domain not in STANDARD:
            raise ValueError(f"the operator {operator!r} of {domain!r} is not one of the standard's")
        if operator not in OPERATORS:
            raise ValueError(f"the operator {operator!r} is not one that networks here may have")
        self.graph.made_by.update(dict.fromkeys(results, operator))

    def _attribute(self, data: memoryview) -> None:
        for number, value in self._fields(data):
            if number in (5, 10):
                self._tensor(_message(value))
            elif number in (6, 11, 22, 23):
                raise ValueError("an operator holds a network or sparse numbers of its own")

    def _tensor(self, data: memoryview) -> str:
        """The name of a tensor whose numbers are all there."""
        name, count, kind, held, place = "", 1, 0, 0, dict[str, str]()
        for number, value in self._fields(data):
            if number == 1:
                count *= math.prod(self._packed(value))
            elif number == 2:
                kind = _integer(value)
            elif number == 8:
                name = _text(value)
            elif number == 13:
                pair = dict(self._fields(_message(value)))
                place[_text(pair.get(1, memoryview(b"")))] = _text(pair.get(2, memoryview(b"")))
            elif number in (4, 5, 7, 9, 10, 11):
                # Numbers in fields of their own are of varying length, a byte at least.
                held += (len(value) if number == 9 else len(value) * 8) if isinstance(value, memoryview) else 8
        if kind not in BYTES:
            raise ValueError(f"the weight {name!r} is of a type, {kind}, that is not known here")
        held = self._outside(name, place) if place else held
        if count * BYTES[kind] > held:
            raise ValueError(f"the weight {name!r} announces {count} numbers and has {held} bytes for them")
        return name

    def _outside(self, name: str, place: dict[str, str]) -> int:
        """How many bytes of a file beside this one are a weight's."""
        location = place.get("location", "")
        file = self._folder / location
        if Path(location).name != location or not location or "\\" in location or file.is_symlink():
            raise ValueError(f"the weight {name!r} is in {location!r}, which does not lie beside the file")
        if not file.is_file():
            raise ValueError(f"the weight {name!r} is in {location!r}, which is not there")
        if file not in self.graph.outside:
            self.graph.outside.append(file)
        start, size = int(place.get("offset", "0")), file.stat().st_size
        length = int(place.get("length", size - start))
        if start < 0 or length < 0 or start + length > size:
            raise ValueError(f"the weight {name!r} ends beyond the end of {location!r}")
        return length

    def _port(self, data: memoryview) -> Port:
        """A ValueInfo: its type (field 2) has a tensor's type (1), with the numbers' type (1) and a shape (2)."""
        name, kind, shape = "", 0, []
        for number, value in self._fields(data):
            if number == 1:
                name = _text(value)
            elif number == 2:
                tensor = dict(self._fields(_message(value))).get(1, memoryview(b""))
                for inner, content in self._fields(_message(tensor)):
                    if inner == 1:
                        kind = _integer(content)
                    elif inner == 2:
                        shape = [self._dimension(_message(d)) for n, d in self._fields(_message(content)) if n == 1]
        return Port(name, kind, tuple(shape))

    def _dimension(self, data: memoryview) -> int | None:
        size = dict(self._fields(data)).get(1)
        return size if isinstance(size, int) else None

    def _packed(self, value: int | memoryview) -> list[int]:
        """Integers that are one, or several in a row of bytes."""
        if isinstance(value, int):
            return [value]
        numbers, at = [], 0
        while at < len(value):
            number, at = _varint(value, at)
            numbers.append(number)
        return numbers


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """An integer of seven bits a byte, the lowest first, and where the next field begins."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends too early")
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number, at
    raise ValueError(f"the number before byte {at} does not end")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number stands where a message should")
    return value


def _integer(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes stand where a number should")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode("utf-8")
