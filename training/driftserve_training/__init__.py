"""From a folder of images to an archive that driftserve serves, and the evidence for it."""

from driftserve_training.network.torchvision_operators import make_torchvision_importable

make_torchvision_importable()  # here, because it has to come before the first import of timm or torchmetrics
