"""The data set: its folders, its manifest, its augmentation and its data loaders."""
