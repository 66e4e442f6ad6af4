//! What a broken watch says, and how often it is said.

use std::error::Error;

use kube::runtime::watcher;

use super::Scope;

/// Tells the failures of one watch.
#[derive(Debug, Default)]
pub struct Complaints {
    forbidden: bool,
}

// === impl Complaints ===

impl Complaints {
    /// Logs a failure. That something is forbidden stays so until somebody changes a Role: it is said once.
    pub fn tell(&mut self, what: &str, scope: &Scope, error: &watcher::Error) {
        if self.is_news(error) {
            tracing::warn!(
                kind = what,
                ?scope,
                error = error as &dyn Error,
                "a watch failed; what is known stays, it is tried again"
            );
        } else {
            tracing::debug!(kind = what, ?scope, error = error as &dyn Error, "a watch is still forbidden");
        }
    }

    /// The watch works: what fails from now on is news.
    pub fn forget(&mut self) {
        self.forbidden = false;
    }

    fn is_news(&mut self, error: &watcher::Error) -> bool {
        let forbidden = is_forbidden(error);
        let known = std::mem::replace(&mut self.forbidden, forbidden);
        !(forbidden && known)
    }
}

/// Whether the API does not know the kind. A namespace that is not there is no such case: its lists are empty.
pub fn is_unknown_kind(error: &watcher::Error) -> bool {
    code(error) == Some(404)
}

/// Whether a right is missing.
pub fn is_forbidden(error: &watcher::Error) -> bool {
    code(error) == Some(403)
}

fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16) -> watcher::Error {
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(
            Status::failure("refused", "Reason").with_code(code),
        )))
    }

    #[test]
    fn that_something_is_forbidden_is_said_once_until_it_worked() {
        let mut complaints = Complaints::default();
        assert!(complaints.is_news(&refused(403)));
        assert!(!complaints.is_news(&refused(403)));
        complaints.forget();
        assert!(complaints.is_news(&refused(403)));
    }

    #[test]
    fn every_other_failure_is_said() {
        let mut complaints = Complaints::default();
        assert!(complaints.is_news(&refused(500)) && complaints.is_news(&refused(500)));
        assert!(complaints.is_news(&watcher::Error::NoResourceVersion));
    }

    #[test]
    fn only_a_404_means_that_the_kind_is_unknown() {
        assert!(is_unknown_kind(&refused(404)));
        assert!(!is_unknown_kind(&refused(403)) && !is_unknown_kind(&watcher::Error::NoResourceVersion));
    }
}
