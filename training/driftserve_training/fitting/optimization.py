"""Optimizer and learning rate schedule."""

import math
from collections.abc import Iterable, Mapping

import torch
from timm.optim import create_optimizer_v2, list_optimizers  # type: ignore[attr-defined]  # re-exported without `as`

from driftserve.errors import DataError

_LOOKAHEAD = "lookahead_"  # timm accepts this prefix before any optimizer


def check_optimizer(name: str) -> None:
    """Raise unless timm knows the optimizer.

    Raises:
        DataError: timm does not know the optimizer; the message lists similar names.
    """
    known = [str(other) for other in list_optimizers()]
    if name.lower().removeprefix(_LOOKAHEAD) not in known:
        close = ", ".join(other for other in known if other[:3] == name.lower()[:3]) or ", ".join(known)
        raise DataError(f"expected one of timm's optimizers, got {name!r}; similar names: {close}")


def create_optimizer(
    name: str, groups: Iterable[Mapping[str, object]], learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Create a timm optimizer over parameter groups, each with `params` and optionally its own `lr`.

    Raises:
        DataError: timm does not know the optimizer, or cannot create it on this machine.
    """
    check_optimizer(name)
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            [dict(group) for group in groups], opt=name, lr=learning_rate, weight_decay=weight_decay
        )
    except (AssertionError, ImportError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"cannot create the optimizer {name}: {error}; choose another") from error
    return optimizer


def rate_share(step: int, steps: int, warmup: float) -> float:
    """Return the fraction of the peak learning rate at a step: linear rise, then half a cosine.

    The cosine follows Loshchilov and Hutter 2017.

    Args:
        step: number of the step, from 0.
        steps: number of steps in the whole run.
        warmup: fraction of the steps in which the learning rate rises.

    >>> [round(rate_share(step, 10, 0.2), 3) for step in (0, 1, 2, 6, 10)]
    [0.333, 0.667, 1.0, 0.5, 0.0]
    """
    rise = round(steps * warmup)
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))
