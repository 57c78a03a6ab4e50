"""A training as its user sees it: watched, compared with other configurations before it begins, its network described."""
