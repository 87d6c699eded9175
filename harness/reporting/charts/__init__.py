"""Charts: declared once with Altair, drawn offline to SVG in a wide and a narrow form."""
