"""The checks of the exercises: right answers pass in any style, each wrong one (answers/) is told what is wrong."""

import ast
import contextlib
import copy
import functools
import itertools
import math
import os
import random
import re
import signal

import numpy as np
import pytest
import torch
from answers import (
    chapter5,
    chapter6,
    chapter7,
    chapter8,
    chapter9,
    chapter10,
    chapter11,
    chapter12,
    found,
    part1,
)
from conftest import CHAPTERS, cells

from dynattn import check
from dynattn.exercises import _EXERCISES, CheckFailed, _judge, grade, text, variants
from dynattn.exercises._judging import CUT_OFF, DIFFERENTIABLE, NO_GRADIENT, NOTHING, UNFINISHED, close

BANK = (part1, chapter5, chapter6, chapter7, chapter8, chapter9, chapter10, chapter11, chapter12, found)
RIGHT, WRONG = (
    {name: case for of in BANK for name, case in getattr(of, side).items()} for side in ("RIGHT", "WRONG")
)
SAME = {name for of in BANK for name in of.SAME}  # kinds of answers that are the same mistake


@pytest.fixture(autouse=True)
def seeded():
    """Some answers draw at random, as 11.5 asks for; one time in twenty a wrong one gets the general diagnosis."""
    torch.manual_seed(1)
    np.random.seed(1)


def said(capsys, number, answer) -> str:
    check(number, answer)
    return capsys.readouterr().out


@pytest.mark.parametrize("number, answer", RIGHT.values(), ids=RIGHT)
def test_right_answers_pass_in_any_style(number, answer, capsys):
    assert said(capsys, number, answer) == f"Exercise {number}: right.\n"


def tensors_in(arguments):
    for argument in arguments:
        if isinstance(argument, (list, tuple)):
            yield from tensors_in(argument)
        elif isinstance(argument, (torch.Tensor, np.ndarray)):
            yield argument


def as_tensors(argument):
    if isinstance(argument, (list, tuple)):
        return type(argument)(map(as_tensors, argument))
    if isinstance(argument, dict):
        return {name: as_tensors(part) for name, part in argument.items()}
    if isinstance(argument, np.ndarray):
        argument = torch.from_numpy(argument)
    return (
        argument.double() if isinstance(argument, torch.Tensor) and argument.is_floating_point() else argument
    )


def each_part(change, result):
    """The result with its tensors changed; two things stay two things, and a cache may hold what it likes."""
    if isinstance(result, (list, tuple)):
        return type(result)(each_part(change, part) for part in result)
    if isinstance(result, dict):
        return {name: each_part(change, part) for name, part in result.items()}
    return change(result) if isinstance(result, torch.Tensor) else result


# How somebody else would write the same answer: what it refuses, and what it returns.
HABITS = {
    "float32 alone": (
        lambda x: isinstance(x, torch.Tensor) and x.dtype != torch.float64,
        lambda y: y.float() if y.is_floating_point() else y,
    ),
    "NumPy alone": (lambda x: isinstance(x, np.ndarray), lambda y: y.detach().numpy()),
    "a list of rows": (lambda x: True, lambda y: list(y) if y.dim() else y),
}


def with_habit(answer, habit):
    accepts, returned = HABITS[habit]

    def other(*arguments):
        if not all(map(accepts, tensors_in(arguments))):
            raise RuntimeError("expected m1 and m2 to have the same dtype")
        result = answer(*as_tensors(arguments))
        if habit == "a list of rows" and not isinstance(result, torch.Tensor):
            return result  # it is a list already
        return each_part(returned, result)

    return other


FUNCTIONS = {name: case for name, case in RIGHT.items() if callable(case[1])}


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("number, answer", FUNCTIONS.values(), ids=FUNCTIONS)
def test_right_answers_pass_whatever_they_are_written_in(number, answer, habit):
    result = grade(number, with_habit(answer, habit))
    assert result.status == "right", result


# -------------------------------------------------------------------------- wrong, each with its diagnosis


@pytest.mark.parametrize("number, answer, diagnosis", WRONG.values(), ids=WRONG)
def test_wrong_answers_are_told_what_is_wrong(number, answer, diagnosis):
    with pytest.raises(CheckFailed, match=re.escape(diagnosis)) as failed:
        check(number, answer)
    assert str(failed.value).startswith(f"exercise {number}: ")


def test_each_diagnosis_belongs_to_one_mistake():
    """Where the bank names a mistake, no other mistake of the same exercise gets the same message."""
    messages = {}
    for name, (number, answer, _) in WRONG.items():
        torch.manual_seed(1), np.random.seed(1)  # as where it is tried alone
        with pytest.raises(CheckFailed) as failed:
            check(number, answer)
        message = re.sub(r"[\d.e+-]+", "", str(failed.value))
        messages.setdefault((number, message), []).append(name)
    shared = [names for names in messages.values() if len(names) > 1]
    assert all(name in SAME for names in shared for name in names), shared


NUMBERS = list(_EXERCISES)
ALL = [(number, variant) for number in NUMBERS for variant in range(variants(number))]
each_exercise = pytest.mark.parametrize("number", NUMBERS)
each_variant = pytest.mark.parametrize("number, variant", ALL, ids=[f"{n}/{v}" for n, v in ALL])
LISTED = [(*one, diagnosis, wrong) for one in ALL for diagnosis, wrong in _judge(*one).mistakes.items()]


@pytest.mark.parametrize(
    "number, variant, diagnosis, wrong", LISTED, ids=[f"{n}/{v}: {d[:40]}" for n, v, d, _ in LISTED]
)
def test_every_listed_mistake_is_refused_with_its_own_diagnosis(number, variant, diagnosis, wrong):
    result = grade(number, wrong, variant)
    assert (result.status, result.diagnosis) == ("wrong", diagnosis)


@each_variant
def test_the_reference_is_right(number, variant):
    assert grade(number, _judge(number, variant).reference, variant).status == "right"


@pytest.mark.parametrize("number, variant", [(number, variant) for number, variant in ALL if variant])
def test_variants_ask_for_different_things(number, variant):
    """No answer to one is right for another, and a test tells the book's from all others."""
    for other in range(variant):
        for answer, asked in ((other, variant), (variant, other)):
            result = grade(number, _judge(number, answer).reference, asked)
            assert result.status in ("wrong", "broken") and result.diagnosis, (answer, asked)
        assert text(number, other) != text(number, variant)


@pytest.mark.parametrize("number", [number for number in NUMBERS if variants(number) > 1])
def test_the_books_variant_stands_in_the_book(number):
    sources = [cell["source"] for path in CHAPTERS for cell in cells(path, "markdown")]
    (source,) = [source for source in sources if f"### {number} " in source]
    assert text(number) in source


def test_every_chapter_has_variants():
    chapters = {number.split(".")[0] for number in NUMBERS if variants(number) > 1}
    assert len(chapters) == 12 and sum(variants(number) > 1 for number in NUMBERS) >= 20


@pytest.mark.parametrize("variant", [-1, 99, True, "1", None, 0.5])
def test_a_variant_that_does_not_exist(variant):
    for call in (
        lambda: grade("1.1", ..., variant),
        lambda: check("1.1", ..., variant),
        lambda: text("1.1", variant),
    ):
        with pytest.raises(ValueError, match="^variant: got .*, expected one of 0, 1, 2$"):
            call()
    with pytest.raises(ValueError, match="^number: got '2.1', which has no variants"):
        text("2.1")


@pytest.mark.parametrize("number", ["2.1", "4.2"])
def test_two_mistakes_at_once_are_both_named(number):
    """Unless one hides the other: a softmax that is missing, so that its factor can't be told from a longer value."""
    mistakes, named = _judge(number, 0).mistakes, 0
    for diagnosis, wrong in mistakes.pairs:
        result = grade(number, wrong)
        assert result.status == "wrong" and (
            result.diagnosis.startswith("two things") or result.diagnosis in mistakes
        )
        named += result.diagnosis == diagnosis
    assert named >= 0.8 * len(mistakes.pairs), f"{named} of {len(mistakes.pairs)}"


def shortcuts(exercise):
    """Answers that don't look at their arguments, or hand them back: constants, what the first case wants, a copy."""
    first = tuple(exercise.cases(torch.Generator().manual_seed(0))[0])
    yield from ((f"always {constant}", lambda *arguments, c=constant: c) for constant in (0, 1, 0.5))
    try:
        want = exercise.reference(*first) if callable(exercise.reference) else exercise.reference
    except TypeError:  # a case holds something else than the arguments of one call
        want = None
    if want is not None and not callable(want):
        for constant in (0, 1, 0.5):
            yield (
                f"full of {constant}",
                lambda *arguments, c=constant: each_part(lambda y: torch.full_like(y, c), want),
            )
        if first:
            yield "what the first case wants", lambda *arguments: want
    for place in range(len(first)):
        yield f"a copy of argument {place}", lambda *arguments, place=place: copy.copy(arguments[place])


@pytest.mark.filterwarnings("ignore")
@each_variant
def test_shortcuts_are_refused(number, variant):
    exercise = _judge(number, variant)
    assert [
        name for name, answer in shortcuts(exercise) if grade(number, answer, variant).status == "right"
    ] == []


# ------------------------------------------------------------------- mutants: the book's own solution, spoilt in a place

SOLUTIONS = {
    found[2]: found[1]
    for path in CHAPTERS
    for cell in cells(path, "markdown")
    for found in re.finditer(
        r'```python\n((?:(?!```).)*?check\("([\d.]+)", \w+\))\n```', cell["source"], re.DOTALL
    )
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.Pow: ast.Mult,
}
COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
NAMES = dict(pair for a, b in (("sum", "mean"), ("max", "min"), ("maximum", "minimum"), ("amax", "amin"), ("argmax", "argmin"),
                               ("tril", "triu"), ("exp", "abs"), ("zeros", "ones")) for pair in ((a, b), (b, a)))  # fmt: skip


def mutations(node, names=()):
    """Other forms of one node of a syntax tree; another of these names in the place of a name."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
        yield ast.Name(names[(names.index(node.id) + 1) % len(names)], node.ctx)
    if isinstance(node, ast.Return) and node.value:
        yield from (ast.Return(ast.parse(form, mode="eval").body) for form in (
            f"{sign}({ast.unparse(node.value)}){end}" for sign, end in (("-", ""), ("2 * ", ""), ("", " + 1"), ("", ".T"), ("", ".abs()"))
        ))  # fmt: skip
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
        yield ast.BinOp(node.right, node.op, node.left)
        yield node.left
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield ast.Compare(node.left, [COMPARISONS[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield from (
            ast.Constant(value)
            for value in (node.value + 1, node.value - 1, 2 * node.value)
            if value != node.value
        )
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield ast.Attribute(node.value, NAMES[node.attr], node.ctx)
    elif isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        yield node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.keywords:
        yield node.func.value  # the method isn't called


def spoilt(tree):
    """The trees that one becomes when one node is changed."""
    names = [name.arg for name in ast.walk(tree) if isinstance(name, ast.arg)]
    for at, node in enumerate(list(ast.walk(tree))):
        for other in mutations(node, names):
            changed = copy.deepcopy(tree)
            old = list(ast.walk(changed))[at]
            for parent in ast.walk(changed):
                for field, value in ast.iter_fields(parent):
                    if value is old:
                        setattr(parent, field, other)
                    elif isinstance(value, list) and any(item is old for item in value):
                        setattr(parent, field, [other if item is old else item for item in value])
            yield ast.fix_missing_locations(changed)


def defined(tree):
    """What the code of a solution hands to the check, or None if it doesn't get that far."""
    namespace = {"torch": torch, "math": math, "np": np, "F": torch.nn.functional, "itertools": itertools}
    name = tree.body[-1].value.args[1].id
    try:
        exec(compile(ast.Module(tree.body[:-1], []), "<solution>", "exec"), namespace)
    except Exception:
        return None
    return namespace[name]


def mutants(source, count=20):
    """So many mutants of a solution, with one node changed, and with two where that makes too few; all with THOROUGH."""
    once, found = list(spoilt(ast.parse(source))), {}
    random.Random(0).shuffle(once)
    twice = (second for first in once for second in spoilt(first))
    for place, tree in enumerate(itertools.chain(once, twice)):
        if len(found) >= count and (place >= len(once) or not os.environ.get("THOROUGH")):
            break
        if (answer := defined(tree)) is not None:
            found[ast.unparse(tree)] = answer
    return found.items()


@contextlib.contextmanager
def soon():
    """Within it, Python code that takes more than a second is broken off: a mutant may not come to an end."""

    def late(*frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 1, 1)
    try:
        yield
    except TimeoutError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def accepted(number, answer):
    """Whether a mutant is called right, and isn't."""
    diagnosis, exercise = "it raised an error", _judge(number, 0)
    with soon(), contextlib.suppress(Exception):
        diagnosis = exercise(answer)
    return not diagnosis and differs(answer, exercise)


def differs(answer, exercise, inputs=200):
    """Whether an answer differs from the reference on any of so many inputs."""
    always = repr(exercise.cases(torch.Generator().manual_seed(0)))
    for seed in range(1, 1 + inputs):
        cases = exercise.cases(torch.Generator().manual_seed(seed))
        for case in cases:
            try:
                if not close(exercise.outcome(answer, case), exercise.outcome(exercise.reference, case)):
                    return True
            except CheckFailed:
                return True
        inputs -= len(cases)
        if inputs <= 0 or repr(cases) == always:  # nothing in them is drawn
            break
    return False


@each_exercise
def test_the_books_solution_is_right_for_every_input(number):
    assert not differs(defined(ast.parse(SOLUTIONS[number])), _judge(number, 0))


@pytest.mark.filterwarnings("ignore")
@each_exercise
def test_mutants_of_the_solution_are_refused(number):
    tried = mutants(SOLUTIONS[number])
    wrongly = [code for code, answer in tried if accepted(number, answer)]
    assert len(tried) >= 20
    assert not wrongly, f"{len(wrongly)} of {len(tried)}:\n" + "\n\n".join(wrongly)


# ------------------------------------------------------------------------- what is not an answer, or breaks


def returns(value):
    return lambda *arguments: value


def functions(*bodies):
    """Functions with these bodies, without source, as where notebooks are graded."""
    for body in bodies:
        namespace = {"torch": torch}
        exec(f"def answer(*arguments):\n    {body}", namespace)
        yield namespace["answer"]


SKELETONS = "...", "pass", "'What is asked for.'", "return", "return None", "return ...", "raise NotImplementedError", "raise NotImplementedError('yet')"  # fmt: skip
NO_RESULT = {  # what is computed, or printed, or changed, and not returned
    "torch.zeros(3)": NOTHING,
    "print(arguments)": NOTHING,
    "result = 3": NOTHING,
    "arguments and arguments[0]": NOTHING,
    "def helper(): return 3": NOTHING,
    "return [2, 1].sort()": NOTHING,
    "result = 3; return ...": UNFINISHED,
}


@each_exercise
@pytest.mark.parametrize("blank", [None, ..., *functions(*SKELETONS)], ids=["None", "Ellipsis", *SKELETONS])
def test_a_skeleton_is_not_attempted(number, blank, capsys):
    assert said(capsys, number, blank) == f"Exercise {number}: not attempted yet.\n"


@each_exercise
@pytest.mark.parametrize("answer, diagnosis", zip(functions(*NO_RESULT), NO_RESULT.values()), ids=NO_RESULT)
def test_what_computes_and_returns_nothing_is_wrong(number, answer, diagnosis):
    result = grade(number, answer)
    assert (result.status, result.diagnosis) == ("wrong", diagnosis)


def test_what_raises_in_the_middle_is_broken():
    result = grade("2.1", *functions("result = arguments[0]; raise NotImplementedError"))
    assert (result.status, result.diagnosis) == ("broken", "your code raised NotImplementedError: ")


def test_something_else_than_a_function_may_return_nothing():
    for answer in (functools.partial(print), print, functools.wraps(returns)(lambda *arguments: print())):
        assert grade("2.1", answer).diagnosis == NOTHING
    skeleton = functools.wraps(*functions("..."))(returns(None))
    assert grade("2.1", skeleton).status == "not attempted"


def test_texts_say_where_gradients_are_compared():
    sources = [source for path in CHAPTERS for cell in cells(path, "markdown")
               for source in re.split(r"(?m)(?=^### )", cell["source"])]  # fmt: skip
    for number in NUMBERS:
        (source,) = [source for source in sources if source.startswith(f"### {number} ")]
        assert (DIFFERENTIABLE in source) == _judge(number, 0).gradient, number
    assert sum(_judge(number, 0).gradient for number in NUMBERS) == 8


@pytest.mark.parametrize("number", [number for number in NUMBERS if _judge(number, 0).gradient])
def test_what_is_cut_off_in_pytorch_is_refused_and_other_kinds_are_not(number):
    """Any answer that is no tensor knows no gradient; and what is wrong with a gradient is not always a cut."""
    right = _judge(number, 0).reference
    for cut in (
        torch.Tensor.detach,
        lambda y: torch.tensor(y.tolist()),
        lambda y: torch.from_numpy(y.detach().numpy()),
    ):
        result = grade(number, lambda *arguments, cut=cut: cut(right(*arguments)))
        assert (result.status, result.diagnosis) == ("wrong", CUT_OFF)
    for other in (torch.Tensor.tolist, lambda y: y.detach().numpy()):
        assert grade(number, lambda *arguments, other=other: other(right(*arguments))).status == "right"

    def not_finite(*arguments):
        root = next(a for a in arguments if torch.is_tensor(a) and a.is_floating_point()).sum() * 0
        return right(*arguments) + root.sqrt() * 0

    assert grade(number, not_finite).diagnosis == NO_GRADIENT


@each_exercise
def test_an_error_in_the_answer_is_reported_as_the_readers(number):
    def answer(*arguments):
        raise IndexError("list index out of range")

    with pytest.raises(CheckFailed, match="your code raised IndexError: list index out of range"):
        check(number, answer)


NONSENSE = [
    "text",
    object(),
    {},
    [],
    (),
    [[1], [1, 2]],
    torch.zeros(0),
    torch.tensor(1j),
    torch.full((3, 3), math.nan),
]
NUMBER_LIKE = [7, -1.5, True]  # exercise 1.4 asks for such a value


@pytest.mark.parametrize(
    ("number", "value"),
    [(n, value) for n in NUMBERS for value in NONSENSE + NUMBER_LIKE * (n != "1.4")],
    ids=lambda value: repr(value)[:20],
)
def test_nonsense_is_refused_with_a_diagnosis(number, value):
    for answer in (value, returns(value)):
        with pytest.raises(CheckFailed, match=f"^exercise {number}: ."):
            check(number, answer)


TENSOR_ARGUMENTS = [number for number in NUMBERS if number not in ("1.1", "1.4", "2.3", "4.1", "4.4")]


@pytest.mark.parametrize("number", [number for number in TENSOR_ARGUMENTS if float(number) < 3])
def test_changing_the_input_in_place_is_reported(number):
    right = {n: answer for n, answer in RIGHT.values()}[number]

    def answer(*arguments):
        result = right(*(a.clone() for a in arguments))
        arguments[0].add_(1)
        return result

    with pytest.raises(CheckFailed, match="in place"):
        check(number, answer)


def test_an_unknown_number_is_refused():
    with pytest.raises(KeyError, match="9.9"):
        check("9.9", ...)


@each_exercise
def test_there_is_an_exercise_in_the_chapter_of_its_number(number):
    chapters = [path for path in CHAPTERS if path.name.startswith(f"{int(number.split('.')[0]):02}-")]
    assert chapters, f"exercise {number} has no chapter"
    sources = [cell["source"] for path in chapters for cell in cells(path, "code")]
    assert sum(f'check("{number}",' in source for source in sources) == 1
