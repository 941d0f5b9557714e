"""Items made of what CPython itself tests pickle with: every form of `__reduce__` and its kin."""

from __future__ import annotations

from tests.zoo.program import Item, Package

PICKLE = Package(
    """
    import collections, copyreg
    from test import pickletester as pt
    copyreg.pickle(pt.pickling_metaclass, pt.pickling_metaclass.__reduce__)
    def given(made, **attributes):
        vars(made).update(attributes)
        return made
    def filled(cls, n):
        made = cls()
        made.a = n
        return made
    def slotted(n):
        made = pt.SlotList([1, n])
        made.foo = n
        return made
    def new(cls, n):
        return given(cls.__new__(cls, n), abc=n)
    def data(n):
        made = pt.create_data()
        made.append(n)
        return made
    def list_in(cls):
        made = cls()
        made.items = [1, made]
        return made
    def ring(n):
        one, other = pt.Object(), pt.Object()
        one.attr, other.attr, one.n = other, one, n
        return one
    def tuple_ring(n):
        items = [n]
        made = (items,)
        items.append(made)
        return made
    def dict_ring(n):
        made = {"n": n}
        made["me"] = made
        return made
    def state_of(x):
        return sorted(vars(x).items())
    """,
    {
        "data": Item(
            "data(1)", "data(2)", "x[:-4], x[-3][:2], state_of(x[-3][2]), x[-3][2] is x[-3][3], x[-4] is x[-3], x[-1]"
        ),
        "instance": Item("given(pt.C(), foo=1)", "given(pt.C(), foo=2)", "state_of(x)"),
        "init_with_arguments": Item("given(pt.D(1), foo=1)", "given(pt.D(1), foo=2)", "state_of(x)"),
        "initargs": Item("pt.initarg(1, 'a')", "pt.initarg(1, 'b')", "state_of(x)"),
        "int_with_state": Item("pt.myint(4)", "pt.myint(5)", "x, state_of(x)"),
        "instance_of_metaclass": Item(
            "given(pt.use_metaclass(), a=1)", "given(pt.use_metaclass(), a=2)", "state_of(x)"
        ),
        "class_with_metaclass": Item("pt.use_metaclass", "pt.metaclass", "x.__name__"),
        "class_that_pickles_itself": Item(
            "pt.create_dynamic_class('Made', (object,))",
            "pt.create_dynamic_class('Other', (object,))",
            "x.__name__, x.reduce_args",
        ),
        "reduce": Item("pt.REX_one()", "pt.REX_two()", "len(vars(type(x))) > 3"),
        "reduce_ex": Item("pt.REX_two()", "pt.REX_six()", "1"),
        "reduce_ex_of_object": Item("given(pt.REX_four(), a=1)", "given(pt.REX_four(), a=2)", "x.a"),
        "reduce_of_object": Item(
            "given(pt.REX_five(), a=1)", "given(pt.REX_five(), a=2)", "x.a", may_refuse=True, stored=False
        ),
        "list_items": Item("pt.REX_six([1, 2])", "pt.REX_six([2, 1])", "x.items"),
        "list_items_ring": Item(
            "list_in(pt.REX_six)", "pt.REX_six([1, pt.REX_six()])", "x.items[0], x.items[1] is x", may_refuse=True
        ),
        "dict_items": Item("pt.REX_seven({1: 2})", "pt.REX_seven({1: 3})", "x.table"),
        "state": Item("pt.REX_state({'a': 1})", "pt.REX_state({'a': 2})", "x.state"),
        "empty_state": Item("pt.REX_state({})", "pt.REX_state(())", "x.state"),
        "int": Item("given(pt.MyInt(1), foo=1)", "given(pt.MyInt(1), foo=2)", "int(x), state_of(x)"),
        "float": Item("given(pt.MyFloat(1.0), foo=1)", "given(pt.MyFloat(-0.0), foo=1)", "float(x), state_of(x)"),
        "complex": Item("given(pt.MyComplex(1j), foo=1)", "given(pt.MyComplex(1j), bar=1)", "complex(x), state_of(x)"),
        "text": Item("given(pt.MyStr('a'), foo=1)", "given(pt.MyUnicode('a'), foo=1)", "str(x), state_of(x)"),
        "tuple": Item("given(pt.MyTuple([1]), foo=1)", "given(pt.MyTuple([2]), foo=1)", "tuple(x), state_of(x)"),
        "list": Item("given(pt.MyList([1]), foo=1)", "given(pt.MyList([1]), foo='1')", "list(x), state_of(x)"),
        "dict": Item("given(pt.MyDict(a=1), foo=1)", "given(pt.MyDict(a=1))", "dict(x), state_of(x)"),
        "set": Item("given(pt.MySet('abcdef'), foo=1)", "given(pt.MySet('abcdeg'), foo=1)", "sorted(x), state_of(x)"),
        "frozen_set": Item(
            "given(pt.MyFrozenSet('abcdef'), foo=1)", "given(pt.MyFrozenSet('abcdef'), foo=2)", "sorted(x), state_of(x)"
        ),
        "slots_and_dict": Item("slotted(1)", "slotted(2)", "list(x), x.foo"),
        "newargs": Item("new(pt.ComplexNewObj, 255)", "new(pt.ComplexNewObj, 254)", "int(x), state_of(x)"),
        "newargs_ex": Item("new(pt.ComplexNewObjEx, 255)", "new(pt.ComplexNewObjEx, 254)", "int(x), state_of(x)"),
        "only_new": Item("new(pt.SimpleNewObj, 255)", "given(new(pt.SimpleNewObj, 255), abc=1)", "int(x), state_of(x)"),
        "ring": Item("ring(1)", "ring(2)", "x.n, x.attr.attr is x"),
        "ring_through_a_tuple": Item("tuple_ring(1)", "tuple_ring(2)", "x[0][0], x[0][1] is x"),
        "ring_through_a_dict": Item("dict_ring(1)", "dict_ring(2)", "x['n'], x['me'] is x"),
        "out_of_band": Item("pt.ZeroCopyBytes(b'abc')", "pt.ZeroCopyBytes(b'abd')", "bytes(x)"),
        "out_of_band_and_mutable": Item("pt.ZeroCopyBytearray(b'abc')", "pt.ZeroCopyBytearray(b'abd')", "bytes(x)"),
        "nested_name": Item("pt.AAA", "pt.BBB", "x.__name__"),
        "asks_itself_for_ever": Item("pt.BadGetattr()", "pt.Object()", "1", may_refuse=True, stored=False),
        "method_of_a_type": Item("str.upper", "str.lower", "x('aB')"),
        "method_of_an_instance": Item("[1, 2].index", "[2, 1].index", "x(1)"),
        "class_method_of_a_type": Item("dict.fromkeys", "collections.OrderedDict.fromkeys", "type(x('a')).__name__"),
        "singletons": Item("[..., NotImplemented, None]", "[..., None, NotImplemented]", "x"),
        "large_numbers": Item("[1 << 63, -(1 << 70)]", "[1 << 63, 1 << 70]", "x"),
        "exception": Item("KeyError('a', 1)", "KeyError('a', '1')", "x.args"),
    },
    ("test.pickletester",),
)
