"""Train an image classifier and export it as an archive that driftserve serves, with measured evidence."""

from driftserve_training.network.torchvision_operators import make_torchvision_importable

make_torchvision_importable()  # must run before the first import of timm or torchmetrics
