//! Turns: of all who want to do something, one at a time may.

use parking_lot::Mutex;

/// Who has the turn, and who waits for it.
#[derive(Debug)]
pub struct Turns<K> {
    inner: Mutex<Inner<K>>,
}

#[derive(Debug)]
struct Inner<K> {
    is_open: bool,
    holder: Option<K>,
    waiting: Vec<K>,
}

// === impl Turns ===

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { is_open: false, holder: None, waiting: vec![] }) }
    }
}

impl<K: Clone + PartialEq> Turns<K> {
    /// Whether it is the turn of `key`; if not, `key` is told by [`Self::release`] when it is worth asking again.
    pub fn claim(&self, key: &K) -> bool {
        let mut inner = self.inner.lock();
        let is_own = inner.is_open && inner.holder.as_ref().is_none_or(|holder| holder == key);
        inner.waiting.retain(|waiting| waiting != key);
        if is_own {
            inner.holder = Some(key.clone());
        } else {
            inner.waiting.push(key.clone());
        }
        is_own
    }

    /// Gives the turn to `key` if nobody has it: it is found in the middle of what it would be for.
    pub fn occupy(&self, key: &K) {
        self.inner.lock().holder.get_or_insert_with(|| key.clone());
    }

    /// From now on there are turns; before, nobody may. Returns who is to be woken.
    pub fn open(&self) -> Vec<K> {
        let mut inner = self.inner.lock();
        inner.is_open = true;
        std::mem::take(&mut inner.waiting)
    }

    /// Whether there are turns.
    pub fn is_open(&self) -> bool {
        self.inner.lock().is_open
    }

    /// Ends the turn of `key`, or its waiting: it is done, deleted or does not want to any more. Returns who is to be
    /// woken. Whoever never calls this stops all others, which is right while a rollout does not succeed.
    pub fn release(&self, key: &K) -> Vec<K> {
        let mut inner = self.inner.lock();
        inner.waiting.retain(|waiting| waiting != key);
        if inner.holder.as_ref() != Some(key) {
            return vec![];
        }
        inner.holder = None;
        std::mem::take(&mut inner.waiting)
    }

    /// Whose turn it is.
    #[cfg(test)]
    fn holder(&self) -> Option<K> {
        self.inner.lock().holder.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_the_turn() {
        let turns = Turns::default();
        assert!(!turns.claim(&"a"), "not before there are turns");
        assert_eq!(turns.open(), ["a"]);
        assert!(turns.claim(&"a") && turns.claim(&"a"));
        assert!(!turns.claim(&"b") && !turns.claim(&"c") && !turns.claim(&"b"));
        assert_eq!(turns.holder(), Some("a"));
        assert_eq!(turns.release(&"a"), ["c", "b"], "each once");
        assert!(turns.claim(&"b") && !turns.claim(&"c"));
        assert_eq!(turns.release(&"b"), ["c"]);
        assert_eq!(turns.release(&"b"), Vec::<&str>::new());
        assert_eq!(turns.holder(), None);
    }

    #[test]
    fn who_is_deleted_while_waiting_is_not_woken() {
        let turns = Turns::default();
        turns.open();
        assert!(turns.claim(&1) && !turns.claim(&2) && !turns.claim(&3));
        assert_eq!(turns.release(&2), Vec::<i32>::new());
        assert_eq!(turns.holder(), Some(1), "it was not their turn");
        assert_eq!(turns.release(&1), [3]);
    }

    #[test]
    fn only_one_of_many_threads_gets_it() {
        let turns = Turns::default();
        turns.open();
        let got = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|key| {
                    scope.spawn({
                        let turns = &turns;
                        move || turns.claim(&key)
                    })
                })
                .collect();
            all.into_iter().filter_map(|thread| thread.join().ok()).filter(|got| *got).count()
        });
        assert_eq!(got, 1);
    }

    #[test]
    fn who_is_found_in_the_middle_of_it_has_the_turn() {
        let turns = Turns::default();
        turns.occupy(&"b");
        turns.occupy(&"c");
        assert!(!turns.claim(&"a") && turns.open() == ["a"] && !turns.claim(&"a"));
        assert_eq!(turns.release(&"b"), ["a"]);
        assert!(turns.claim(&"a"));
    }
}
