//! Lists that reconciles can do without are waited for, but not for long.
//!
//! Without this, what was reconciled before such a list is complete would be looked at a second time after it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use parking_lot::RwLock;

use super::Scope;

/// Longest that a list which is not needed is waited for.
pub const HEAD_START: Duration = Duration::from_secs(5);

/// Which scopes wait no more for the first list of one kind.
#[derive(Clone, Debug, Default)]
pub struct HeadStart {
    over: Arc<RwLock<HashSet<Scope>>>,
}

// === impl HeadStart ===

impl HeadStart {
    /// Whether nothing of `namespace` waits any more.
    pub fn is_over_for(&self, namespace: &str) -> bool {
        self.over.read().iter().any(|scope| scope.includes(namespace))
    }

    /// Ends it for `scope`; true for the call that did.
    pub fn end(&self, scope: &Scope) -> bool {
        self.over.write().insert(scope.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_start_ends_once_and_for_its_scope_only() {
        let start = HeadStart::default();
        let demo = Scope::Namespace("demo".into());
        assert!(!start.is_over_for("demo"));
        assert!(start.end(&demo) && !start.end(&demo));
        assert!(start.is_over_for("demo") && !start.is_over_for("other"));
    }
}
