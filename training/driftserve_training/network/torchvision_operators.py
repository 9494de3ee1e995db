"""torchvision, importable beside a torch that its compiled operators do not fit."""

import torch

# Kept alive: the schemas are gone when the library object is.
_declared: list[torch.library.Library] = []


def make_torchvision_importable() -> None:
    """Declare the operators that torchvision's import looks for, where its own did not load.

    timm and torchmetrics import torchvision and use none of its operators. PyPI's torchvision is
    built for CUDA; beside a CPU-only torch its operators do not load, and its import fails for
    want of their schemas: `operator torchvision::nms does not exist`.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _declared.append(library)
