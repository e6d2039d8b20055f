"""The ground floor: files, images, runs of masks, jobs. Knows nothing of the rooms above."""
