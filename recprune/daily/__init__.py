"""The wrapper: whole days and single steps under one lock, with the right plan in `day.yaml`."""
