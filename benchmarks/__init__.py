"""The measurements behind the numbers in the docs. Each script prints its device and date."""
