"""What is wanted: configuration, the OCI specification, driver protocols. Pure."""
