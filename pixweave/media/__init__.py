"""Reading and writing files: images, palettes, SVG, metadata, tables, terminal previews."""
