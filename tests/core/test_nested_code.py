"""The code of a function, with all nested code."""

from nbpar.core.functions import with_nested


def outer(items):
    class Inner:
        def method(self):
            return lambda: 1

    return [Inner, (item for item in items)]


def test_all_code_within_a_function_is_found_outer_code_first():
    found = list(with_nested(outer.__code__))

    names = [code.co_name for code in found]
    assert names[:4] == ["outer", "Inner", "method", "<lambda>"]
    assert "<genexpr>" in names
    assert len(set(map(id, found))) == len(found)


def test_a_function_without_others_is_all_there_is():
    assert list(with_nested((lambda: 1).__code__))[1:] == []
