"""Label images: a classifier over files, folders and indexes; tables; sorting into folders."""
