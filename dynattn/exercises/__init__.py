"""``check`` and ``grade``: run a reader's answer to an exercise and say which mistake they see.

Each exercise has a judge: a function that takes the answer and returns a diagnosis, or None when it is right.
Most judges compare the answer with a reference on several inputs and, where it differs, with the mistakes that
people make, so that the diagnosis can name the one that was made.
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
from dynattn.exercises._judging import STYLES, CheckFailed, NotAttempted, blank, given

__all__ = ["CheckFailed", "Result", "check", "grade"]

_JUDGES = {
    **chapter1.JUDGES,
    **chapter2.JUDGES,
    **chapter3.JUDGES,
    **chapter4.JUDGES,
    **chapter5.JUDGES,
    **chapter6.JUDGES,
    **chapter7.JUDGES,
    **chapter8.JUDGES,
    **chapter9.JUDGES,
    **chapter10.JUDGES,
    **chapter11.JUDGES,
    **chapter12.JUDGES,
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


def grade(number: str, answer) -> Result:
    """Judge the answer to an exercise of the book. Whatever the answer does, nothing is raised.

    An answer that raises an error on float64 tensors is tried on float32 ones, and then on NumPy arrays.

    Args:
        number: chapter and exercise, such as "2.1".
        answer: the function, matrix or number that the exercise asks for.

    Raises:
        KeyError: there is no such exercise.
    """
    if number not in _JUDGES:
        raise KeyError(f"number: got {number!r}, expected one of {', '.join(_JUDGES)}")
    if blank(answer):
        return Result(number, "not attempted")
    first = None
    for style in STYLES:
        found = _judged(number, answer, style)
        if found.status != "broken":
            return found
        first = first or found
    return first


def _judged(number, answer, style) -> Result:
    try:
        with given(style):
            diagnosis = _JUDGES[number](answer)
    except NotAttempted:
        return Result(number, "not attempted")
    except CheckFailed as failed:
        status = "broken" if failed.__cause__ else "wrong"
        return Result(number, status, str(failed), style, failed.__cause__)
    except Exception as error:  # what the judge itself can't take
        diagnosis = f"what your code returns can't be judged ({type(error).__name__}: {error})."
        return Result(number, "broken", diagnosis, style, error)
    return Result(number, "wrong" if diagnosis else "right", diagnosis or "", style)


def check(number: str, answer) -> None:
    """Check the answer to an exercise of the book, and say what is wrong with it.

    Args:
        number: chapter and exercise, such as "2.1".
        answer: the function, matrix or number that the exercise asks for. A function that is still a skeleton
            (it returns None or ``...``) counts as not attempted, and nothing is raised.

    Raises:
        CheckFailed: the answer is wrong; the message says which mistake was seen.
        KeyError: there is no such exercise.
    """
    result = grade(number, answer)
    if result.status in ("wrong", "broken"):
        raise CheckFailed(f"exercise {number}: {result.diagnosis}") from result.error
    if result.status == "not attempted":
        print(f"Exercise {number}: not attempted yet.")
    else:
        print(f"Exercise {number}: right." + f" (It was given {result.style}.)" * (result.style != "float64"))
