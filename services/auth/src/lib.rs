//! Exchanges OIDC identity tokens for Roadstead's own and signs them.
