"""Files in and out: images, palettes, SVG, metadata, tables, pictures in a terminal."""
