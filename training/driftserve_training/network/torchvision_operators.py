"""Make torchvision importable with a torch build that cannot load its compiled operators."""

import torch

# Keeps the library objects alive: their schemas are removed when they are deleted.
_declared: list[torch.library.Library] = []


def make_torchvision_importable() -> None:
    """Declare the operators that torchvision's import needs, if its compiled ones cannot be loaded.

    timm and torchmetrics import torchvision but use none of its operators. PyPI's torchvision is
    built for CUDA. With a CPU-only torch its operators do not load, and its import fails because
    their schemas are missing: `operator torchvision::nms does not exist`.
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
