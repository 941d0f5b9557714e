"""What code does with objects from outside: which it binds anew, changes in place, or passes on.

Bytecode is read as the interpreter runs it, with a stack, but a value is only where it came from: `CACHE["a"]` is an
item of a global. Branches are read in the order of the code and joined where they meet, so what is found may happen.
Names that stand for one object (`c = CACHE`) are followed.
"""

from __future__ import annotations

from opcode import hasjrel, opmap
from types import CodeType

from pcache.fingerprint import known_code
from pcache.fingerprint.calls import Calls
from pcache.fingerprint.uses import (
    CHANGING_METHODS,
    COPY,
    KEYS,
    NULL,
    OWN_DICT,
    SUPER,
    UNKNOWN,
    Constant,
    Method,
    Path,
    Uses,
    attributes_among,
    item_step,
    joined,
    paths_of,
)
from pcache.objects.bytecode import numbers_of, placed_operations_of, taken_by
from pcache.startup import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BACKWARD = frozenset(one for name, one in opmap.items() if "BACKWARD" in name)
_FORWARD = frozenset(hasjrel) - _BACKWARD
_OR_POP = frozenset(one for name, one in opmap.items() if "OR_POP" in name)
_ENDS = numbers_of("RETURN_VALUE RETURN_CONST RAISE_VARARGS RERAISE JUMP_FORWARD JUMP_BACKWARD")
_POP_TOP = opmap["POP_TOP"]
_SUBSCRIPT, _IN_PLACE = 26, 13  # of BINARY_OP: an item, from 3.14 on; `+=` and the others from this one on
_PEEKING = frozenset(  # operations that leave some of what they look at
    one
    for name, one in opmap.items()
    if name.startswith(("MATCH_", "GET_", "BEFORE_", "BINARY_SLICE", "SEND", "LOAD_SPECIAL"))
)


def uses_of(code: CodeType) -> Uses:
    """What code does with objects from outside; remembered."""
    found: Uses | None = known_code.uses.get(code) or known_code.recall(known_code.uses, code)
    return found or known_code.note(known_code.uses, code, _Reader(code).read())


class _Reader(Calls):
    """Reads one code object."""

    def __init__(self, code: CodeType) -> None:
        self.code = code
        cells = tuple(name for name in code.co_cellvars if name not in code.co_varnames)
        self.variables = (*code.co_varnames, *cells, *code.co_freevars)
        self.captured = frozenset(code.co_freevars)
        parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        self.aliases = {name: frozenset((Path("local", name),)) for name in parameters}
        super().__init__()
        self.own = frozenset((Path("local", parameters[0]),)) if code.co_argcount else UNKNOWN
        self.ahead: dict[int, list[Any]] = {}  # the stack at the targets of jumps
        self.names: tuple[str, ...] = ()  # of the last arguments of the next call

    def read(self) -> Uses:
        operations = list(placed_operations_of(self.code.co_code))
        loops = any(operation in _BACKWARD for _, operation, _, _ in operations)
        for _ in range(1 + loops):  # the second time with what names stand for further below
            self.stack, self.ahead = [], {}
            for at, operation, argument, following in operations:
                if at in self.ahead:
                    self.stack = joined(self.stack, self.ahead.pop(at))
                self.do(operation, argument, following)
        for nested in self.code.co_consts:
            if isinstance(nested, CodeType):
                self.take_over(uses_of(nested), self.iterated.get(nested, UNKNOWN))
        return self.found()

    def take_over(self, inner: Uses, iterated: frozenset[Path]) -> None:
        """Add what nested code does with objects from outside of this code, and with what it goes through."""
        # Nested code that binds a variable of this code binds nothing outside of it.
        self.bound |= {
            one for path in inner.bound for one in self.from_here(path, iterated) if one is path or path.steps
        }
        for mine, its in (
            (self.changed, inner.changed),
            (self.handed, inner.handed),
            (self.met, inner.read),
            (self.called, inner.called),
            (self.filled, inner.filled),
        ):
            mine |= {one for path in its for one in self.from_here(path, iterated)}
        for function, position, path in inner.given:
            functions = list(self.from_here(function, iterated))
            pairs = [(of, one) for of in functions for one in self.from_here(path, iterated)]
            self.given |= {(of, position, one) for of, one in pairs}

    def from_here(self, path: Path, iterated: frozenset[Path]) -> Iterator[Path]:
        """The paths that an object of nested code has in this code."""
        if path.root == "global" or (path.root == "variable" and path.name in self.captured):
            yield path
        elif path.root == "variable":
            for one in self.aliases.get(path.name, UNKNOWN):
                yield one.step(*path.steps)
        elif path.name == ".0":
            for one in iterated:
                yield one.step(*path.steps)

    def load_variable(self, name: str) -> None:
        own = self.aliases.get(name, UNKNOWN)
        self.load(frozenset((Path("variable", name),)) if name in self.captured else own)

    def store_variable(self, name: str) -> None:
        [value] = self.pop()
        if name in self.captured:
            self.bound.add(Path("variable", name))
            self.hand([value])
        else:
            paths = paths_of(value)
            is_another = bool(paths) and all(path.is_made() for path in paths)  # `row = dict(row)`
            self.aliases[name] = paths if is_another else self.aliases.get(name, UNKNOWN) | paths

    def do(self, operation: int, argument: int, following: int) -> None:
        """Do one operation, and note the stack where it may go on."""
        kept = list(self.stack) if operation in _OR_POP else None  # which takes nothing where it jumps
        act = _ACT_OF.get(operation)
        if act is not None:
            act(self, argument)
        else:
            self.do_another(operation, argument)
        if operation in _FORWARD:
            target = following + 2 * argument
            self.ahead[target] = joined(kept or list(self.stack), self.ahead.get(target))
        if operation in _ENDS:
            self.stack = []

    def do_another(self, operation: int, argument: int) -> None:
        """An operation of which only counts that it does something with the objects that it takes."""
        takes, effect = taken_by(operation, argument)
        if operation in _PEEKING:
            self.hand(self.stack[-3:])
        taken = self.pop(takes)
        if operation != _POP_TOP:
            self.hand(taken)
        self.stack += [UNKNOWN] * (takes + effect)

    def load_global(self, argument: int) -> None:
        if argument & 1:
            self.stack.append(NULL)
        self.load(frozenset((Path("global", self.code.co_names[argument >> 1]),)))

    def load_name(self, argument: int) -> None:
        self.load(frozenset((Path("global", self.code.co_names[argument]),)))

    def load_name_from(self, argument: int) -> None:
        self.pop()
        self.load_name(argument)

    def store_global(self, argument: int) -> None:
        self.bound.add(Path("global", self.code.co_names[argument]))
        self.hand(self.pop())

    def delete_global(self, argument: int) -> None:
        self.bound.add(Path("global", self.code.co_names[argument]))

    def delete_variable(self, argument: int) -> None:
        if (name := self.variables[argument]) in self.captured:
            self.bound.add(Path("variable", name))

    def load_two(self, argument: int) -> None:
        self.load_variable(self.variables[argument >> 4])
        self.load_variable(self.variables[argument & 15])

    def store_two(self, argument: int) -> None:
        self.store_variable(self.variables[argument >> 4])
        self.store_variable(self.variables[argument & 15])

    def store_and_load(self, argument: int) -> None:
        self.store_variable(self.variables[argument >> 4])
        self.load_variable(self.variables[argument & 15])

    def attribute(self, name: str) -> None:
        [owner] = self.pop()
        if name in CHANGING_METHODS:  # it will be called by another name
            self.change_in_place(paths_of(owner))
        if name == "__class__":  # an attribute of an object's class is one of the object
            self.stack.append(paths_of(owner))
            return
        self.load(frozenset(path.step(f".{name}") for path in paths_of(owner)))

    def method(self, name: str) -> None:
        [owner] = self.pop()
        self.called |= {path.step(f".{name}") for path in paths_of(owner)}
        self.stack += [NULL, Method(paths_of(owner), name)]

    def load_attribute(self, argument: int) -> None:
        if _ATTRIBUTES_AND_METHODS:
            (self.method if argument & 1 else self.attribute)(self.code.co_names[argument >> 1])
        else:
            self.attribute(self.code.co_names[argument])

    def load_super(self, argument: int) -> None:
        owner = self.pop(3)[2]
        self.stack.append(frozenset(path.step(SUPER) for path in paths_of(owner)))
        (self.method if argument & 1 else self.attribute)(self.code.co_names[argument >> 2])

    def store_attribute(self, argument: int) -> None:
        value, owner = self.pop(2)
        self.hand([value])
        self.bound |= {path.step(f".{self.code.co_names[argument]}") for path in paths_of(owner)}

    def delete_attribute(self, argument: int) -> None:
        self.bound |= {path.step(f".{self.code.co_names[argument]}") for path in paths_of(self.pop()[0])}

    def load_item(self, _: int) -> None:
        owner, key = self.pop(2)
        self.hand([key])
        paths = attributes_among(paths_of(owner), key.value) if type(key) is Constant and type(key.value) is str else ()
        self.load(frozenset((*paths, *(path.step(item_step(key)) for path in paths_of(owner)))))

    def iterate(self, _: int) -> None:
        [value] = self.pop()
        self.hand([value])
        self.stack.append(frozenset(path.step("[]") for path in paths_of(value)))

    def unpack(self, count: int) -> None:
        [value] = self.pop()
        self.hand([value])
        self.stack += [frozenset(path.step(f"[{at}") for path in paths_of(value)) for at in reversed(range(count))]

    def change(self, *, takes: int, at: int) -> None:
        """Change one of the objects that an operation takes."""
        taken = self.pop(takes)
        self.change_in_place(paths_of(taken.pop(at)))
        self.hand(taken)

    def change_item(self, *, takes: int, at: int) -> None:
        """Set or delete an item: of the object at one place of the stack, by the key after it."""
        key = self.stack[-1] if self.stack else UNKNOWN
        if (step := item_step(key)) == "[]":
            self.change(takes=takes, at=at)
            return
        taken = self.pop(takes)
        paths = paths_of(taken.pop(at))
        self.bound |= attributes_among(paths, step[2:])
        self.filled |= {path.step(step) for path in paths if path.steps[-1:] not in ((OWN_DICT,), (COPY,))}
        self.hand(taken)

    def contains(self, _: int) -> None:
        item, container = self.pop(2)
        self.hand([item])
        self.met |= {path.step(step) for path in paths_of(container) for step in (item_step(item), KEYS)}
        self.stack.append(UNKNOWN)

    def binary(self, argument: int) -> None:
        if argument == _SUBSCRIPT:
            self.load_item(argument)
            return
        left, right = self.pop(2)
        if argument >= _IN_PLACE:  # of a bare local name mostly a number
            self.changed |= {path for path in paths_of(left) if path.steps or path.root != "local"}
        self.hand([left, right])
        self.stack.append(UNKNOWN)

    def copy(self, argument: int) -> None:
        self.stack.append(self.stack[-argument] if argument <= len(self.stack) else UNKNOWN)

    def swap(self, argument: int) -> None:
        if argument <= len(self.stack):
            self.stack[-argument], self.stack[-1] = self.stack[-1], self.stack[-argument]

    def name_arguments(self, at: int) -> None:
        self.names = self.code.co_consts[at]

    def call(self, count: int) -> None:
        taken, names = self.pop(count + 2), self.names
        self.names = ()
        is_given = type(taken[0]) is Constant and NULL not in taken[:2]  # a generator expression, what it goes through
        function = next((one for one in taken[:2] if one is not NULL), UNKNOWN)
        self.apply(function, taken[1 if is_given else 2 :], names)

    def call_with_names(self, count: int) -> None:
        [names] = self.pop()
        self.names = names.value if type(names) is Constant and isinstance(names.value, tuple) else ()
        self.call(count)


_ATTRIBUTES_AND_METHODS = opmap.get("LOAD_METHOD", 256) > 255  # noqa: PLR2004 - no operation of its own, from 3.12 on
_ACTS: dict[str, Callable[[_Reader, int], None]] = {
    "LOAD_CONST": lambda reader, at: reader.stack.append(Constant(reader.code.co_consts[at])),
    "LOAD_SMALL_INT": lambda reader, number: reader.stack.append(Constant(number)),
    "LOAD_GLOBAL": _Reader.load_global,
    "LOAD_NAME": _Reader.load_name,
    "LOAD_FROM_DICT_OR_GLOBALS": _Reader.load_name_from,
    "STORE_GLOBAL": _Reader.store_global,
    "DELETE_GLOBAL": _Reader.delete_global,
    "DELETE_DEREF": _Reader.delete_variable,
    **dict.fromkeys(
        "LOAD_FAST LOAD_FAST_CHECK LOAD_FAST_BORROW LOAD_FAST_AND_CLEAR LOAD_DEREF LOAD_CLASSDEREF".split(),
        lambda reader, at: reader.load_variable(reader.variables[at]),
    ),
    **dict.fromkeys(("STORE_FAST", "STORE_DEREF"), lambda reader, at: reader.store_variable(reader.variables[at])),
    **dict.fromkeys(("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"), _Reader.load_two),
    "STORE_FAST_STORE_FAST": _Reader.store_two,
    "STORE_FAST_LOAD_FAST": _Reader.store_and_load,
    "LOAD_METHOD": lambda reader, at: reader.method(reader.code.co_names[at]),
    "LOAD_ATTR": _Reader.load_attribute,
    "LOAD_SUPER_ATTR": _Reader.load_super,
    "MAKE_FUNCTION": _Reader.make_function,
    "SET_FUNCTION_ATTRIBUTE": _Reader.add_to_function,
    "BEFORE_WITH": _Reader.enter,
    "BEFORE_ASYNC_WITH": _Reader.enter,
    "RETURN_VALUE": _Reader.give_back,
    "STORE_ATTR": _Reader.store_attribute,
    "DELETE_ATTR": _Reader.delete_attribute,
    "BINARY_SUBSCR": _Reader.load_item,
    "STORE_SUBSCR": lambda reader, _: reader.change_item(takes=3, at=1),
    "DELETE_SUBSCR": lambda reader, _: reader.change_item(takes=2, at=0),
    "STORE_SLICE": lambda reader, _: reader.change(takes=4, at=1),
    "CONTAINS_OP": _Reader.contains,
    "BINARY_OP": _Reader.binary,
    "GET_ITER": _Reader.iterate,
    "FOR_ITER": lambda reader, _: reader.stack.append(paths_of(reader.stack[-1]) if reader.stack else UNKNOWN),
    "UNPACK_SEQUENCE": _Reader.unpack,
    "PUSH_NULL": lambda reader, _: reader.stack.append(NULL),
    "COPY": _Reader.copy,
    "SWAP": _Reader.swap,
    "PRECALL": lambda _reader, _: None,
    "KW_NAMES": _Reader.name_arguments,
    "CALL": _Reader.call,
    "CALL_KW": _Reader.call_with_names,
}
_ACT_OF = {opmap[name]: act for name, act in _ACTS.items() if name in opmap}
