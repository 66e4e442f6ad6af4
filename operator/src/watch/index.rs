//! The operator's own index of watched objects: small rows, and every change told as old and new.
//!
//! A re-list is swapped in when it is complete and compared with what was known, so what was deleted while the
//! watch was broken is told like any other deletion. Until then the old rows stand.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

/// What the index can hold.
pub trait Row: PartialEq {
    /// Where it lives.
    fn namespace(&self) -> &str;
    /// Its name.
    fn name(&self) -> &str;
}

/// Which namespaces one watch covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// All of them.
    All,
    /// One.
    Namespace(String),
}

/// A row that came, went or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<R> {
    /// Before; none when it came.
    pub old: Option<Arc<R>>,
    /// After; none when it went.
    pub new: Option<Arc<R>>,
}

/// All rows of one kind.
#[derive(Debug)]
pub struct Index<R> {
    rows: HashMap<String, BTreeMap<String, Arc<R>>>,
    complete: HashSet<Scope>,
    refused: HashSet<Scope>,
}

// === impl Scope ===

impl Scope {
    /// Whether an object of `namespace` is seen.
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(own) => own == namespace,
        }
    }
}

// === impl Index ===

impl<R> Default for Index<R> {
    fn default() -> Self {
        Self { rows: HashMap::new(), complete: HashSet::new(), refused: HashSet::new() }
    }
}

impl<R: Row> Index<R> {
    /// Rows of `namespace`, by name.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<R>> {
        self.rows.get(namespace).into_iter().flat_map(BTreeMap::values)
    }

    /// Every namespace that has rows.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }

    /// All rows.
    pub fn all(&self) -> impl Iterator<Item = &Arc<R>> {
        self.rows.values().flat_map(BTreeMap::values)
    }

    /// One row.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<R>> {
        self.rows.get(namespace)?.get(name).cloned()
    }

    /// Whether the first list that covers `namespace` is complete: before, a missing row means nothing.
    pub fn is_complete_for(&self, namespace: &str) -> bool {
        self.complete.iter().any(|scope| scope.includes(namespace))
    }

    /// Whether the first list of `scope` is complete.
    pub fn has_list_of(&self, scope: &Scope) -> bool {
        self.complete.contains(scope)
    }

    /// Whether `scope` may not be listed: nobody waits for it.
    pub fn is_refused(&self, scope: &Scope) -> bool {
        self.refused.contains(scope)
    }

    /// Notes that `scope` may not be listed; true when that is news. A list that was complete once stands.
    pub fn refuse(&mut self, scope: &Scope) -> bool {
        !self.complete.contains(scope) && self.refused.insert(scope.clone())
    }

    /// Takes a row that was added or changed; none if it is as before.
    pub fn apply(&mut self, row: R) -> Option<Change<R>> {
        let names = self.rows.entry(row.namespace().to_owned()).or_default();
        if names.get(row.name()).is_some_and(|old| **old == row) {
            return None;
        }
        let new = Arc::new(row);
        let old = names.insert(new.name().to_owned(), Arc::clone(&new));
        Some(Change { old, new: Some(new) })
    }

    /// Drops a row.
    pub fn delete(&mut self, namespace: &str, name: &str) -> Option<Change<R>> {
        let names = self.rows.get_mut(namespace)?;
        let old = names.remove(name)?;
        if names.is_empty() {
            self.rows.remove(namespace);
        }
        Some(Change { old: Some(old), new: None })
    }

    /// Swaps in the complete list of `scope` and tells every difference.
    pub fn replace(&mut self, scope: &Scope, listed: Vec<R>) -> Vec<Change<R>> {
        let here: HashSet<(&str, &str)> = listed.iter().map(|row| (row.namespace(), row.name())).collect();
        let gone: Vec<(String, String)> = self
            .rows
            .iter()
            .filter(|(namespace, _)| scope.includes(namespace))
            .flat_map(|(namespace, names)| names.keys().map(move |name| (namespace, name)))
            .filter(|(namespace, name)| !here.contains(&(namespace.as_str(), name.as_str())))
            .map(|(namespace, name)| (namespace.clone(), name.clone()))
            .collect();
        let mut changes: Vec<Change<R>> =
            gone.iter().filter_map(|(namespace, name)| self.delete(namespace, name)).collect();
        changes.extend(listed.into_iter().filter_map(|row| self.apply(row)));
        self.complete.insert(scope.clone());
        self.refused.remove(scope);
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Thing(&'static str, &'static str, u8);

    impl Row for Thing {
        fn namespace(&self) -> &str {
            self.0
        }
        fn name(&self) -> &str {
            self.1
        }
    }

    fn names(index: &Index<Thing>, namespace: &str) -> Vec<&'static str> {
        index.in_namespace(namespace).map(|row| row.1).collect()
    }

    #[test]
    fn a_deletion_that_happened_while_the_watch_was_broken_is_told() {
        let mut index = Index::default();
        index.replace(&Scope::All, vec![Thing("n", "a", 1), Thing("n", "b", 1), Thing("m", "c", 1)]);
        let changes = index.replace(&Scope::All, vec![Thing("n", "a", 1), Thing("m", "c", 2)]);
        assert_eq!(changes.len(), 2);
        assert_eq!(changes[0].old.as_deref(), Some(&Thing("n", "b", 1)));
        assert_eq!(changes[0].new, None);
        assert_eq!(changes[1].new.as_deref(), Some(&Thing("m", "c", 2)));
        assert_eq!(names(&index, "n"), ["a"]);
    }

    #[test]
    fn a_list_of_one_namespace_leaves_the_others_alone() {
        let mut index = Index::default();
        index.replace(&Scope::Namespace("m".into()), vec![Thing("m", "c", 1)]);
        index.replace(&Scope::Namespace("n".into()), vec![]);
        assert_eq!(names(&index, "m"), ["c"]);
        assert!(index.is_complete_for("n") && index.is_complete_for("m") && !index.is_complete_for("x"));
    }

    #[test]
    fn a_scope_that_may_not_be_listed_is_told_once_until_it_may() {
        let (mut index, scope) = (Index::<Thing>::default(), Scope::Namespace("n".into()));
        assert!(index.refuse(&scope) && !index.refuse(&scope) && index.is_refused(&scope));
        index.replace(&scope, vec![]);
        assert!(!index.is_refused(&scope));
        assert!(!index.refuse(&scope), "what is known stands");
    }

    #[test]
    fn a_row_that_is_as_before_is_no_change() {
        let mut index = Index::default();
        assert!(index.apply(Thing("n", "a", 1)).is_some());
        assert_eq!(index.apply(Thing("n", "a", 1)), None);
        assert!(index.apply(Thing("n", "a", 2)).expect("changed").old.is_some());
        assert!(index.delete("n", "a").is_some());
        assert_eq!(index.delete("n", "a"), None);
    }
}
