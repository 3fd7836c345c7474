"""The stack of an unpickler, followed without running it: what takes too long to hash is refused beforehand."""

from __future__ import annotations

import pickle
import pickletools
from typing import Any

__all__ = ["PickleStack"]

#: Largest number of items in a tuple, those of tuples inside it included.
MAX_TUPLE = 20_000
#: Largest number of items in all tuples together.
MAX_ITEMS = 20_000_000
#: Largest number of different tuples or integers with one hash. As keys, n of them take time in proportion to n^2.
MAX_ALIKE = 50
#: Largest number of tuples that are looked at.
MAX_TUPLES = 600_000
#: Integers below it have hashes of their own.
MODULUS = 2**61 - 1
#: Largest number of objects whose hash is not followed here.
MAX_OTHERS = 1_000
#: Functions of torch's list that make such objects from something else than a tuple.
OTHERS = ("torch Size", "__builtin__ complex", "builtins complex")
_VALUES = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "BINUNICODE")


class PickleStack:
    """The items on the stack, each a size and a value.

    The size is 1, or for a tuple the items in it at any depth: hashing takes time in proportion to it, which doubles
    with every (t, t), and stack space in proportion to the depth. The value is a number, a text or a tuple as in
    Python, or an object that stands for any other.
    """

    def __init__(self) -> None:
        self.stack: list[tuple[int, Any]] = []
        self.marks: list[list[tuple[int, Any]]] = []
        self.memo: dict[Any, tuple[int, Any]] = {}
        self.alike: dict[int, list[Any]] = {}
        self.items = self.others = 0

    def run(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        """Follow an instruction.

        Raises:
            UnpicklingError: It makes a tuple that is too large, or one of too many with the same hash.
        """
        if operation.name == "MARK":
            self.marks.append(self.stack)
            self.stack = []
        elif operation.name.endswith("PUT"):
            self.memo[argument] = self.stack[-1]
        elif operation.name.endswith("GET"):
            self.stack.append(self.memo[argument])
        else:
            self._run(operation, argument)

    def _run(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        items, taken = [], operation.stack_before
        if pickletools.markobject in taken:
            items, self.stack = self.stack, self.marks.pop()
            taken = taken[: taken.index(pickletools.markobject)]
        items = [*reversed([self.stack.pop() for _ in taken]), *items]
        size, value = 1, object()
        if operation.name in _VALUES:
            value = argument
            if isinstance(value, int) and abs(value) >= MODULUS:
                self._count(value)
        elif operation.name == "GLOBAL":
            value = argument if argument in OTHERS else value
        elif "TUPLE" in operation.name:
            size, value = 1 + sum(each for each, _ in items), tuple(each for _, each in items)
            self.items += size
            if size > MAX_TUPLE or self.items > MAX_ITEMS:
                limits = f"a tuple of more than {MAX_TUPLE} items, or more than {MAX_ITEMS} in all tuples"
                raise pickle.UnpicklingError(limits)
            self._count(value)
        elif operation.name == "REDUCE":
            self._check_call(*(each for _, each in items))
        self.stack += [(size, value)] * len(operation.stack_after)

    def _count(self, value: Any) -> None:
        """Refuse a value if many others have its hash."""
        known = self.alike.setdefault(hash(value), [])
        if value not in known:
            known.append(value)
        if len(known) > MAX_ALIKE or len(self.alike) > MAX_TUPLES:
            raise pickle.UnpicklingError("too many tuples or integers, or too many with the same hash")

    def _check_call(self, function: Any, arguments: Any) -> None:
        """Refuse many objects that are hashed like the numbers they are made of."""
        plain = function == "torch Size" and all(isinstance(each, tuple) for each in arguments)
        if not isinstance(function, str) or function not in OTHERS or plain:
            return
        self.others += 1
        if self.others > MAX_OTHERS:
            raise pickle.UnpicklingError(f"more than {MAX_OTHERS} objects made by {function.replace(' ', '.')}")
