"""HTTPS for the front door: a local authority for development, and HAProxy and nginx configurations."""
