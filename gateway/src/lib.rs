//! Renders the OCI distribution API over the services.
