"""One short script a stage of dvc.yaml."""
