"""What the pipeline is: its parameters, its steps, its conditions."""
