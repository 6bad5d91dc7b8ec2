"""The tabs, one file each, and what they are made of. `app.page` puts them together."""
