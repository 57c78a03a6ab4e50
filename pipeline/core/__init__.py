"""What every room may use: records and their files, settings, execution, registries, errors. It knows no science beyond names."""
