//! Repositories, manifests, tags, referrers, links and upload sessions.
