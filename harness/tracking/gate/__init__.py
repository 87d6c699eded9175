"""The gate: has a run become worse than its baseline?"""
