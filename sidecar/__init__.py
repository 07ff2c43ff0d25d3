"""The Flask shadow service: in the request path, recording, learning, standing in."""

__version__ = "0.1.0"
