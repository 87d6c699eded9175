"""Reports: store -> frozen view model -> HTML and Markdown."""
