"""The only package that imports the SageMaker SDK, with all workarounds for it.

Functions import the SDK when they need it, because the import takes seconds and only `.venv-pipeline` has the SDK.
"""
