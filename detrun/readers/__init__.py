"""Reads evaluations out of files: plain logs of a dozen frameworks, and run directories of our own.

In: a path. Out: `Log` values with every evaluation that the file holds, or a line that says why it
holds none. No number is invented: what a log lacks is missing, and what is doubtful carries a flag.
"""
