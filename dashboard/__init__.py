"""The dashboard: an audit for client staff, the service's state for on-call.

It reads the event store and the control plane, never the sidecar's insides.
"""
