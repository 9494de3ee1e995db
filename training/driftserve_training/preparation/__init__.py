"""Turn fetched images into a data set: check, label and split them, and write a manifest."""
