"""The SageMaker SDK, with every workaround that it needs: nothing else imports it.

It is imported where something is built, not with these modules: it takes seconds, and only `.venv-pipeline` has it.
"""
