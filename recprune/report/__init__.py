"""The offline report: from the JSON of all days to HTML pages with charts in them."""
