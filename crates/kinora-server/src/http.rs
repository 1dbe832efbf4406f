//! Between the socket and the routes: names of requests, limits, encryption.

tokio::task_local! {
    /// The name of the request that this task answers.
    pub(crate) static REQUEST_ID: String;
}

/// The name of the request that is being answered, or nothing outside of one.
pub(crate) fn current_request_id() -> String {
    REQUEST_ID.try_with(Clone::clone).unwrap_or_default()
}
