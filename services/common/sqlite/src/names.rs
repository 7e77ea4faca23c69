/// What a service's database calls its thread, metrics and fail points. [`names!`](crate::names) makes them.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// The service; fail points begin with it.
    pub service: &'static str,
    /// The writing thread.
    pub thread: &'static str,
    /// How many requests shared a commit.
    pub commit_requests: &'static str,
    /// How long a group took, with its commit.
    pub commit_seconds: &'static str,
    /// Transactions by name and outcome.
    pub transactions_total: &'static str,
    /// How long a read took, by name.
    pub read_seconds: &'static str,
}

/// Makes the [`Names`] of a service: `names!("metadata")`.
#[macro_export]
macro_rules! names {
    ($service:literal) => {
        $crate::Names {
            service: $service,
            thread: concat!($service, "-writer"),
            commit_requests: concat!($service, "_commit_requests"),
            commit_seconds: concat!($service, "_commit_seconds"),
            transactions_total: concat!($service, "_transactions_total"),
            read_seconds: concat!($service, "_read_seconds"),
        }
    };
}
