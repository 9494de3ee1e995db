"""Reads and writes archives: the MAR files, with a contract in them, that training hands to serving."""
