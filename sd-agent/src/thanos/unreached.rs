//! Pure: which addresses Thanos has not reached for a while. One look says little: a store restarts, a file is only just
//! written, and Thanos asks every few seconds.

use std::collections::BTreeMap;

use super::in_file::GROUP;
use crate::report::MAX_UNREACHABLE;

/// Looks in a row after which an address counts as unreachable.
pub const LOOKS: u32 = 3;

/// Addresses that are followed at most: nobody is told of more, and with thousands of them the memory is not there.
const FOLLOWED: usize = 256;

/// Follows what is not reached.
#[derive(Debug, Default)]
pub struct Unreached {
    looks: u32,
    in_a_row: BTreeMap<String, u32>,
}

// === impl Unreached ===

impl Unreached {
    /// Takes in what one look has shown; tells what is unreachable, once that can be known.
    pub fn look<'a>(&mut self, unreached: impl Iterator<Item = &'a str>) -> Option<Vec<String>> {
        self.looks = self.looks.saturating_add(1);
        let before = std::mem::take(&mut self.in_a_row);
        self.in_a_row = unreached
            .take(FOLLOWED)
            .map(|address| {
                (address.to_owned(), before.get(address).map_or(1, |looks| looks.saturating_add(1)))
            })
            .collect();
        let unreachable = self.in_a_row.iter().filter(|(_, looks)| **looks >= LOOKS);
        let named = unreachable.map(|(address, _)| address.strip_prefix(GROUP).unwrap_or(address).to_owned());
        (self.looks >= LOOKS).then(|| named.take(MAX_UNREACHABLE).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_reached_in_several_looks_in_a_row_is_told_and_one_success_ends_it() {
        let mut unreached = Unreached::default();
        let mut look = |addresses: &[&str]| unreached.look(addresses.iter().copied());
        assert_eq!(look(&["a:1", "thanos:///dns+g:1"]), None);
        assert_eq!(look(&["a:1", "thanos:///dns+g:1"]), None);
        assert_eq!(look(&["a:1", "b:1", "thanos:///dns+g:1"]), Some(vec!["a:1".into(), "dns+g:1".into()]));
        assert_eq!(look(&["b:1"]), Some(vec![]));
        assert_eq!(look(&["a:1", "b:1"]), Some(vec!["b:1".into()]));
        assert_eq!(look(&["a:1"]), Some(vec![]));
        assert_eq!(look(&["a:1"]), Some(vec!["a:1".into()]));
    }

    #[test]
    fn of_many_the_first_are_told() {
        let many: Vec<String> = (0..500).map(|index| format!("a{index:03}:1")).collect();
        let mut unreached = Unreached::default();
        let told = (0..LOOKS).map(|_| unreached.look(many.iter().map(String::as_str))).last().flatten();
        assert_eq!(told.expect("told"), many[..MAX_UNREACHABLE]);
        assert_eq!(unreached.in_a_row.len(), FOLLOWED);
    }
}
