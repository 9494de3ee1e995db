"""The SageMaker pipeline: fetch, preprocess, train, evaluate, and register what is better."""
