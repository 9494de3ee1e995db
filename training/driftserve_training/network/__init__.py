"""The network: built from timm, written as TorchScript, kept on disk."""
