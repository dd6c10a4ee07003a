"""What a chapter and its deeper notebooks both measure, a module per chapter, so that their numbers agree.

Nothing here teaches the idea itself: an experiment takes its generator and its sizes, and returns what it measured.
"""
