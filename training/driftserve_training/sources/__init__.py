"""Where a data set comes from: Kaggle, S3, a zip file, a folder."""
