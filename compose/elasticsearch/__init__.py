"""A real Elasticsearch node from the official jars on Maven Central: no Docker, no download page."""
