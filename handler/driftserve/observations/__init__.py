"""Defines the observations of answered images; sends, records, logs and replays them."""
