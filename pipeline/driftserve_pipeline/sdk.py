"""The SageMaker SDK, with every workaround that it needs: nothing else imports it."""
