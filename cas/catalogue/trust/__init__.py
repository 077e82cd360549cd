"""Whether somebody whom the site trusts has signed a package."""
