"""The directory where the processes of one server meet."""
