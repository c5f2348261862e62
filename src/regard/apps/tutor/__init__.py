"""The tutor: worked solutions whose steps are checked, hints that keep the answer, a dialogue about a figure.

    from regard.apps.tutor import Tutor, solve

The names load on first use, so that the process that checks formulas starts without the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.apps.tutor.session import Tutor as Tutor
    from regard.apps.tutor.session import solve as solve

__all__ = ["Tutor", "solve"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from regard.apps.tutor import session

    return getattr(session, name)
