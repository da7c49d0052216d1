"""Image classification: of files, folders and indexes; result tables; sorting into folders."""
