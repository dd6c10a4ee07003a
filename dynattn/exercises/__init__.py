"""``check`` and ``grade``: run a reader's answer to an exercise and say which mistake they see.

Each exercise is a reference, the cases on which answers are tried, and the mistakes that people make, so that a diagnosis can
name the one that was made. Some have variants, in which a number or a word of the rule is another one: for graded work.
"""

from dataclasses import dataclass, field

from dynattn.exercises import (
    chapter1,
    chapter2,
    chapter3,
    chapter4,
    chapter5,
    chapter6,
    chapter7,
    chapter8,
    chapter9,
    chapter10,
    chapter11,
    chapter12,
)
from dynattn.exercises._judging import STYLES, CheckFailed, NotAttempted, Variants, blank, given

__all__ = ["CheckFailed", "Result", "check", "grade", "text", "variants"]

_EXERCISES = {
    **chapter1.EXERCISES,
    **chapter2.EXERCISES,
    **chapter3.EXERCISES,
    **chapter4.EXERCISES,
    **chapter5.EXERCISES,
    **chapter6.EXERCISES,
    **chapter7.EXERCISES,
    **chapter8.EXERCISES,
    **chapter9.EXERCISES,
    **chapter10.EXERCISES,
    **chapter11.EXERCISES,
    **chapter12.EXERCISES,
}


@dataclass(frozen=True)
class Result:
    """What is to be said of an answer.

    ``status`` is "right", "wrong", "not attempted" or "broken": the answer raised an error, which ``error`` holds. ``diagnosis``
    says what is wrong. ``style`` is what the answer was given: tensors of "float64" or "float32", or "NumPy" arrays.
    """

    number: str
    status: str
    diagnosis: str = ""
    style: str = "float64"
    error: BaseException | None = field(default=None, repr=False, compare=False)


def variants(number: str) -> int:
    """How many variants an exercise of the book has; 1 if it has only the book's own.

    Raises:
        KeyError: there is no such exercise.
    """
    return len(found.exercises) if isinstance(found := _found(number), Variants) else 1


def text(number: str, variant: int = 0) -> str:
    """What a variant of an exercise asks for, in Markdown. Variant 0 is the book's.

    Raises:
        KeyError: there is no such exercise.
        ValueError: there is no such variant, or the exercise has none, so that its text stands in its notebook alone.
    """
    found = _found(number)
    if not isinstance(found, Variants):
        raise ValueError(f"number: got {number!r}, which has no variants; expected an exercise that has")
    return found.texts[_checked(number, variant)]


def _found(number):
    if number not in _EXERCISES:
        raise KeyError(f"number: got {number!r}, expected one of {', '.join(_EXERCISES)}")
    return _EXERCISES[number]


def _checked(number, variant) -> int:
    count = variants(number)
    if isinstance(variant, bool) or variant not in range(count):
        raise ValueError(f"variant: got {variant!r}, expected one of {', '.join(map(str, range(count)))}")
    return variant


def _judge(number, variant):
    found, variant = _found(number), _checked(number, variant)
    return found.exercises[variant] if isinstance(found, Variants) else found


def grade(number: str, answer, variant: int = 0) -> Result:
    """Judge the answer to an exercise of the book. Whatever the answer does, nothing is raised.

    An answer that raises an error on float64 tensors is tried on float32 ones, and then on NumPy arrays.

    Args:
        number: chapter and exercise, such as "2.1".
        answer: the function, matrix or number that the exercise asks for.
        variant: 0 for the exercise as it stands in the book; others, for those that have some, ask for something else: :func:`text`.

    Raises:
        KeyError: there is no such exercise.
        ValueError: there is no such variant of it.
    """
    judge = _judge(number, variant)
    if blank(answer):
        return Result(number, "not attempted")
    first = None
    for style in STYLES:
        found = _judged(number, judge, answer, style)
        if found.status != "broken":
            return found
        first = first or found
    return first


def _judged(number, judge, answer, style) -> Result:
    try:
        with given(style):
            diagnosis = judge(answer)
    except NotAttempted:
        return Result(number, "not attempted")
    except CheckFailed as failed:
        status = "broken" if failed.__cause__ else "wrong"
        return Result(number, status, str(failed), style, failed.__cause__)
    except Exception as error:  # what the judge itself can't take
        diagnosis = f"what your code returns can't be judged ({type(error).__name__}: {error})."
        return Result(number, "broken", diagnosis, style, error)
    return Result(number, "wrong" if diagnosis else "right", diagnosis or "", style)


def check(number: str, answer, variant: int = 0) -> None:
    """Check the answer to an exercise of the book, and say what is wrong with it.

    Args:
        number: chapter and exercise, such as "2.1".
        answer: the function, matrix or number that the exercise asks for. A function that is still a skeleton
            (nothing but ``...``, ``pass``, a docstring or ``raise NotImplementedError``) counts as not attempted, and nothing is
            raised; one that computes something and returns None is wrong.
        variant: 0 for the exercise as it stands in the book; others, for those that have some, ask for something else: :func:`text`.

    Raises:
        CheckFailed: the answer is wrong; the message says which mistake was seen.
        KeyError: there is no such exercise.
        ValueError: there is no such variant of it.
    """
    result = grade(number, answer, variant)
    if result.status in ("wrong", "broken"):
        raise CheckFailed(f"exercise {number}: {result.diagnosis}") from result.error
    if result.status == "not attempted":
        print(f"Exercise {number}: not attempted yet.")
    else:
        print(f"Exercise {number}: right." + f" (It was given {result.style}.)" * (result.style != "float64"))
