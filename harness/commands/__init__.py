"""The commands, one thin function each, over the functions that Python code calls too."""
