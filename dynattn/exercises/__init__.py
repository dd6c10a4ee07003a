"""``check``: runs a reader's answer to an exercise and says which mistake it sees.

Each exercise has a judge: a function that takes the answer and returns a diagnosis, or None when it is right.
Most judges compare the answer with a reference on several inputs and, where it differs, with the mistakes that
people make, so that the diagnosis can name the one that was made.
"""

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
from dynattn.exercises._judging import CheckFailed, NotAttempted, blank

__all__ = ["CheckFailed", "check"]

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


def check(number: str, answer) -> None:
    """Check the answer to an exercise of the book.

    Args:
        number: chapter and exercise, such as "2.1".
        answer: the function, matrix or number that the exercise asks for. A function that is still a skeleton
            (it returns None or ``...``) counts as not attempted, and nothing is raised.

    Raises:
        CheckFailed: the answer is wrong; the message says which mistake was seen.
        KeyError: there is no such exercise.
    """
    if number not in _JUDGES:
        raise KeyError(f"number: got {number!r}, expected one of {', '.join(_JUDGES)}")
    try:
        if blank(answer):
            raise NotAttempted
        if diagnosis := _JUDGES[number](answer):
            raise CheckFailed(diagnosis)
    except NotAttempted:
        print(f"Exercise {number}: not attempted yet.")
    except CheckFailed as failed:
        raise CheckFailed(f"exercise {number}: {failed}") from failed.__cause__
    else:
        print(f"Exercise {number}: right.")
