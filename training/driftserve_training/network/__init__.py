"""The network: build it with timm, save and load it, convert it to TorchScript."""
