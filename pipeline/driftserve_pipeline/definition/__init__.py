"""The definition of the pipeline: its parameters, steps and conditions. Start reading at `pipeline.build`."""
