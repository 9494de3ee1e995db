"""What the pipeline is: its parameters, its steps, its conditions. `pipeline.build` is where to begin reading."""
