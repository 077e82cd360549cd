"""crash: how it is started, asked, replaced and ended."""
