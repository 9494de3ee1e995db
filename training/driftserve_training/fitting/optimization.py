"""The optimizer and the learning rate's schedule."""

import math
from collections.abc import Iterable, Mapping

import torch
from timm.optim import create_optimizer_v2, list_optimizers  # type: ignore[attr-defined]  # re-exported without `as`

from driftserve.errors import DataError

_LOOKAHEAD = "lookahead_"  # timm wraps any optimizer in it


def check_optimizer(name: str) -> None:
    """Pass if timm knows the optimizer.

    Raises:
        DataError: it does not.
    """
    known = [str(other) for other in list_optimizers()]
    if name.lower().removeprefix(_LOOKAHEAD) not in known:
        close = ", ".join(other for other in known if other[:3] == name.lower()[:3]) or ", ".join(known)
        raise DataError(f"expected one of timm's optimizers, got {name!r}; near it: {close}")


def create_optimizer(
    name: str, groups: Iterable[Mapping[str, object]], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Timm's optimizer of that name over parameter groups, each with `params` and, where it differs, `lr`.

    Raises:
        DataError: timm does not know it, or it cannot be made here.
    """
    check_optimizer(name)
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            [dict(group) for group in groups], opt=name, lr=learning_rate, weight_decay=weight_decay
        )
    except (AssertionError, ImportError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"the optimizer {name} cannot be made here: {error}; choose another") from error
    return optimizer


def rate_share(step: int, steps: int, warmup: float) -> float:
    """The share of the highest learning rate at a step: a linear rise, then half a cosine (Loshchilov and Hutter 2017).

    Args:
        step: from 0.
        steps: of the whole run.
        warmup: share of the steps in which the rate rises.

    >>> [round(rate_share(step, 10, 0.2), 3) for step in (0, 1, 2, 6, 10)]
    [0.333, 0.667, 1.0, 0.5, 0.0]
    """
    rise = round(steps * warmup)
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))
