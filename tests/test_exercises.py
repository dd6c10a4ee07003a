"""The checks of the exercises: right answers pass in any style, each wrong one (answers/) is told what is wrong."""

import ast
import contextlib
import copy
import math
import re
import signal

import numpy as np
import pytest
import torch
from answers import chapter5, chapter6, chapter7, chapter8, chapter9, chapter10, chapter11, chapter12, part1
from conftest import CHAPTERS, cells

from dynattn import check
from dynattn.exercises import _JUDGES, CheckFailed, grade
from dynattn.exercises._judging import call, close

BANK = (part1, chapter5, chapter6, chapter7, chapter8, chapter9, chapter10, chapter11, chapter12)
RIGHT, WRONG = (
    {name: case for of in BANK for name, case in getattr(of, side).items()} for side in ("RIGHT", "WRONG")
)
SAME = {name for of in BANK for name in of.SAME}  # kinds of answers that are the same mistake


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
        with pytest.raises(CheckFailed) as failed:
            check(number, answer)
        message = re.sub(r"[\d.e+-]+", "", str(failed.value))
        messages.setdefault((number, message), []).append(name)
    shared = [names for names in messages.values() if len(names) > 1]
    assert all(name in SAME for names in shared for name in names), shared


LISTED = [
    (number, diagnosis, wrong)
    for number, judge in _JUDGES.items()
    for diagnosis, wrong in getattr(judge, "mistakes", {}).items()
]


@pytest.mark.parametrize("number, diagnosis, wrong", LISTED, ids=[f"{n}: {d[:40]}" for n, d, _ in LISTED])
def test_every_listed_mistake_is_refused_with_its_own_diagnosis(number, diagnosis, wrong):
    result = grade(number, wrong)
    assert (result.status, result.diagnosis) == ("wrong", diagnosis)


@pytest.mark.parametrize(
    "number", [number for number, judge in _JUDGES.items() if hasattr(judge, "reference")]
)
def test_the_reference_is_right(number):
    assert grade(number, _JUDGES[number].reference).status == "right"


@pytest.mark.parametrize("number", ["2.1", "4.2"])
def test_two_mistakes_at_once_are_both_named(number):
    """Unless one hides the other: a softmax that is missing, so that its factor can't be told from a longer value."""
    mistakes, named = _JUDGES[number].mistakes, 0
    for diagnosis, wrong in mistakes.pairs:
        result = grade(number, wrong)
        assert result.status == "wrong" and (
            result.diagnosis.startswith("two things") or result.diagnosis in mistakes
        )
        named += result.diagnosis == diagnosis
    assert named >= 0.8 * len(mistakes.pairs), f"{named} of {len(mistakes.pairs)}"


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


def mutations(node):
    """Other forms of one node of a syntax tree."""
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


def mutants(source):
    """The functions that a solution becomes, each with one node changed."""
    tree = ast.parse(source)
    name = tree.body[-1].value.args[1].id
    tree.body.pop()
    for at, node in enumerate(list(ast.walk(tree))):
        for other in mutations(node):
            changed = copy.deepcopy(tree)
            old = list(ast.walk(changed))[at]
            for parent in ast.walk(changed):
                for field, value in ast.iter_fields(parent):
                    if value is old:
                        setattr(parent, field, other)
                    elif isinstance(value, list) and any(item is old for item in value):
                        setattr(parent, field, [other if item is old else item for item in value])
            code = ast.unparse(ast.fix_missing_locations(changed))
            namespace = {"torch": torch, "math": math, "np": np, "F": torch.nn.functional}
            try:
                exec(compile(code, "<mutant>", "exec"), namespace)
            except Exception:
                continue
            yield code, namespace[name]


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
    right = False
    with soon():
        right = grade(number, answer).status == "right"
    return right and differs(answer, _JUDGES[number])


def differs(answer, judge):
    """Whether an answer differs from the reference on any of some two hundred inputs."""
    for seed in range(1, 68):
        for arguments in judge.cases(torch.Generator().manual_seed(seed)):
            try:
                got = call(answer, arguments)
            except CheckFailed:
                return True
            if not close(got, judge.reference(*arguments)):
                return True
    return False


MUTATED = [number for number, judge in _JUDGES.items() if hasattr(judge, "cases") and number in SOLUTIONS]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", MUTATED)
def test_mutants_of_the_solution_are_refused(number):
    tried = list(mutants(SOLUTIONS[number]))
    wrongly = [code for code, answer in tried if accepted(number, answer)]
    assert len(tried) >= 5
    assert not wrongly, f"{len(wrongly)} of {len(tried)}:\n" + "\n\n".join(wrongly)


# ------------------------------------------------------------------------- what is not an answer, or breaks

NUMBERS = sorted(_JUDGES)
each_exercise = pytest.mark.parametrize("number", NUMBERS)


def returns(value):
    return lambda *arguments: value


@each_exercise
@pytest.mark.parametrize(
    "blank", [None, ..., returns(None), returns(...)], ids=["None", "...", "->None", "->..."]
)
def test_a_skeleton_is_not_attempted(number, blank, capsys):
    assert said(capsys, number, blank) == f"Exercise {number}: not attempted yet.\n"


@each_exercise
def test_not_implemented_is_not_attempted(number, capsys):
    def answer(*arguments):
        raise NotImplementedError

    assert said(capsys, number, answer) == f"Exercise {number}: not attempted yet.\n"


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
