import pytest

from harness.document import dotted, parse_document, set_path
from harness.errors import HarnessError, Position, SuiteError


def parse(text):
    return parse_document(text, "f.yaml")


def problems(text):
    try:
        found = parse(text).problems
    except SuiteError as error:
        found = error.problems
    return [(str(problem.position), problem.message) for problem in found]


def test_words_and_numbers_are_those_of_yaml_1_2():
    assert parse("{on: off, lr: 1e-4, n: 0x1F, day: 2026-11-20, none: ~, text: '5'}").value == {
        "on": "off",
        "lr": 0.0001,
        "n": 31,
        "day": "2026-11-20",
        "none": None,
        "text": "5",
    }


def test_positions_count_lines_and_columns_from_one():
    document = parse("a:\n  b: [x, {c: 1}]\n")
    assert document.position(("a", "b"), of_key=True) == Position("f.yaml", 2, 3)
    assert document.position(("a", "b", 1, "c")) == Position("f.yaml", 2, 14)


def test_a_path_that_was_not_written_has_the_place_around_it():
    assert parse("a:\n  b: 1\n").position(("a", "z", "y")) == Position("f.yaml", 2, 3)


def test_all_mistakes_are_reported_at_once():
    assert problems("a: 1\na: 2\nb: !!python/object/apply:os.system [ls]\nc: .inf\n") == [
        ("f.yaml:2:1", "the key 'a' stands here twice"),
        (
            "f.yaml:3:4",
            "the tag tag:yaml.org,2002:python/object/apply:os.system is not allowed; write plain values",
        ),
        ("f.yaml:4:4", "'.inf' is not a finite number"),
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1", "f.yaml:1:6"),
        ("a: *nobody", "f.yaml:1:4"),
        ("- x: 1\n\t- y", "f.yaml:2:1"),
        ("--- 1\n--- 2", "f.yaml:2:1"),
        ("", "f.yaml:1:1"),
        ("? [1, 2] : 3", "f.yaml:1:3"),
        ("\x00", "f.yaml:1:1"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_place(text, place):
    assert [where for where, _ in problems(text)] == [place]


def test_folded_text_is_one_line_without_marks():
    assert parse("a: >\n  one\n  two\n\n  three\n").value == {"a": "one two\nthree\n"}


def test_control_characters_are_refused():
    assert problems('a: "bell \\a"') == [
        ("f.yaml:1:4", "control characters and halves of surrogate pairs are not text")
    ]


def test_an_alias_that_holds_itself_is_refused():
    assert "nested too deeply" in problems("a: &a [*a]")[0][1]


def test_aliases_that_grow_without_bound_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    assert "too large" in problems("\n".join(lines))[-1][1]


def test_setting_a_path_makes_the_mappings_on_its_way():
    value = {"a": {"b": 1}}
    set_path(value, ("a", "c", "d"), 2)
    assert value == {"a": {"b": 1, "c": {"d": 2}}}
    with pytest.raises(HarnessError, match=r"a\.b is not a mapping"):
        set_path(value, ("a", "b", "c"), 3)


def test_paths_are_written_as_people_write_them():
    assert dotted(("vary", 0, "levels", "deep")) == "vary[0].levels.deep"
