"""One file a page. Each declares its path, its title, the least role that may see it, and how it is drawn."""
