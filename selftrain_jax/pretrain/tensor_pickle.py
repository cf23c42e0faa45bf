"""The pickles that torch.save writes, read without Python's pickle module; call `read_pickle`.

A pickle is a program. Here a machine runs the few instructions that build containers, numbers, text and
descriptions of tensors; whatever else a program asks for is refused by name, and nothing of it is imported or
called. Reference: the opcodes of Python's documentation, pickletools.
"""

import dataclasses
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

REBUILDERS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
PARAMETER = "torch._utils._rebuild_parameter"
ORDERED_DICT = "collections.OrderedDict"


class RefusedError(Exception):
    """A program that does more than make tensors; `name` is what it asks for."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class DamagedError(Exception):
    """Bytes that are no program of the instructions known here."""


class Name(NamedTuple):
    """Something of a module that a program names, as torch.FloatStorage. It is never looked up."""

    text: str


class Storage(NamedTuple):
    """Where a tensor's numbers are: the kind as torch calls it, a key in the file, how many."""

    kind: str
    key: str
    num: int


class Tensor(NamedTuple):
    """A view of a storage."""

    storage: Storage
    offset: Any  # what the file says: a whole number, and tuples of them
    shape: tuple[Any, ...]
    stride: tuple[Any, ...]


@dataclasses.dataclass
class Machine:
    """A program, how far it has been run, and what it has made."""

    data: bytes
    position: int
    stack: list[Any] = dataclasses.field(default_factory=list)
    marks: list[int] = dataclasses.field(default_factory=list)
    memo: dict[int, Any] = dataclasses.field(default_factory=dict)

    def take(self, count: int) -> bytes:
        """Return the next bytes of the program."""
        if not 0 <= count <= len(self.data) - self.position:
            raise DamagedError(f"it ends in the middle, at byte {len(self.data)}")
        self.position += count
        return self.data[self.position - count : self.position]

    def unpack(self, form: str) -> Any:
        """Return the next number of the program."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        """Return the text up to the end of the line."""
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise DamagedError("a name without an end")
        return self.take(end + 1 - self.position)[:-1].decode()

    def since_mark(self) -> list[Any]:
        """Remove and return what was made since the last mark."""
        mark = self.marks.pop()
        found, self.stack[mark:] = self.stack[mark:], []
        return found


def read_pickle(data: bytes, start: int = 0) -> tuple[Any, int]:
    """Run the program that begins at a byte; return what it makes, and where it ends.

    Raises:
        RefusedError: it asks for more than containers, numbers, text and tensors.
        DamagedError: it is no such program, or is cut off.
    """
    machine = Machine(data, start)
    try:
        while (code := machine.take(1)) != b".":
            step = STEPS.get(code)
            if step is None:
                raise DamagedError(f"byte {machine.position - 1} is {code!r}, which torch.save never writes")
            step(machine)
        return machine.stack.pop(), machine.position
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DamagedError(f"a program that cannot be run ({type(error).__name__})") from error


def _push(machine: Machine, value: Any) -> None:
    machine.stack.append(value)


def _mark(machine: Machine) -> None:
    machine.marks.append(len(machine.stack))


def _tuple_of(count: int) -> Callable[[Machine], None]:
    def step(machine: Machine) -> None:
        found = tuple(machine.stack[-count:])
        if len(found) < count:
            raise DamagedError("a tuple of more than there is")
        machine.stack[-count:] = [found]

    return step


def _set_items(machine: Machine, pairs: list[Any]) -> None:
    keys = pairs[0::2]
    # Hashing tuples of tuples of the same tuples takes for ever.
    if not all(isinstance(key, str | int) for key in keys):
        raise DamagedError("a dict with a key that is neither text nor a number")
    machine.stack[-1].update(zip(keys, pairs[1::2], strict=True))


def _set_item(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _set_items(machine, [key, value])


def _append(machine: Machine) -> None:
    value = machine.stack.pop()
    machine.stack[-1].append(value)


def _stack_global(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    _push(machine, Name(f"{module}.{name}"))


def _persistent(machine: Machine) -> None:
    """Take a storage, which torch keeps outside of the program."""
    match machine.stack.pop():
        case ("storage", Name(kind), str(key), str(), int(num), *_):
            _push(machine, Storage(kind, key, num))
        case other:
            raise DamagedError(f"a {type(other).__name__} in place of a storage")


def _reduce(machine: Machine) -> None:
    """Call a function, of which three are known."""
    arguments, function = machine.stack.pop(), machine.stack.pop()
    match function, arguments:
        case Name(text), ():
            if text != ORDERED_DICT:
                raise RefusedError(text)
            _push(machine, {})
        case Name(text), (Storage() as storage, offset, tuple(shape), tuple(stride), *_) if (
            text in REBUILDERS
        ):
            _push(machine, Tensor(storage, offset, shape, stride))
        case Name(text), (Tensor() as tensor, *_) if text == PARAMETER:
            _push(machine, tensor)
        case Name(text), _:
            raise RefusedError(text)
        case _:
            raise DamagedError("a call of what is no function")


def _build(machine: Machine) -> None:
    """Leave out the attributes of a container: a state dict's `_metadata`."""
    machine.stack.pop()
    if not isinstance(machine.stack[-1], dict):
        raise RefusedError(f"attributes of a {type(machine.stack[-1]).__name__}")


def _remember(form: str) -> Callable[[Machine], None]:
    return lambda machine: machine.memo.update({machine.unpack(form): machine.stack[-1]})


def _text_of(form: str) -> Callable[[Machine], None]:
    return lambda machine: _push(machine, machine.take(machine.unpack(form)).decode())


def _number_of(form: str) -> Callable[[Machine], None]:
    return lambda machine: _push(machine, machine.unpack(form))


STEPS: dict[bytes, Callable[[Machine], None]] = {
    b"\x80": lambda machine: _discard(machine.take(1)),  # the protocol
    b"\x95": lambda machine: _discard(machine.take(8)),  # a frame's length
    b"}": lambda machine: _push(machine, {}),
    b"]": lambda machine: _push(machine, []),
    b")": lambda machine: _push(machine, ()),
    b"N": lambda machine: _push(machine, None),
    b"\x88": lambda machine: _push(machine, True),
    b"\x89": lambda machine: _push(machine, False),
    b"K": _number_of("<B"),
    b"M": _number_of("<H"),
    b"J": _number_of("<i"),
    b"G": _number_of(">d"),
    b"\x8a": lambda machine: _push(
        machine, int.from_bytes(machine.take(machine.unpack("<B")), "little", signed=True)
    ),
    b"X": _text_of("<I"),
    b"\x8c": _text_of("<B"),
    b"\x8d": _text_of("<Q"),
    b"T": _text_of("<i"),  # text of Python 2
    b"U": _text_of("<B"),
    b"(": _mark,
    b"t": lambda machine: _push(machine, tuple(machine.since_mark())),
    b"l": lambda machine: _push(machine, machine.since_mark()),
    b"\x85": _tuple_of(1),
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"s": _set_item,
    b"u": lambda machine: _set_items(machine, machine.since_mark()),
    b"a": _append,
    b"e": lambda machine: _extend(machine, machine.since_mark()),
    b"q": _remember("<B"),
    b"r": _remember("<I"),
    b"\x94": lambda machine: machine.memo.update({len(machine.memo): machine.stack[-1]}),
    b"h": lambda machine: _push(machine, machine.memo[machine.unpack("<B")]),
    b"j": lambda machine: _push(machine, machine.memo[machine.unpack("<I")]),
    b"c": lambda machine: _push(machine, Name(f"{machine.line()}.{machine.line()}")),
    b"\x93": _stack_global,
    b"Q": _persistent,
    b"R": _reduce,
    b"b": _build,
}


def _extend(machine: Machine, values: list[Any]) -> None:
    machine.stack[-1].extend(values)


def _discard(_: bytes) -> None:
    pass
