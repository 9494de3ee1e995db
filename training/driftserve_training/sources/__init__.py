"""Sources of a data set: Kaggle, S3, a zip file, a folder."""
