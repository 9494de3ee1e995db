"""The SageMaker pipeline: fetch images, preprocess, train, evaluate, and register a better model."""
