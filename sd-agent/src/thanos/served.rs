//! Pure: what of the file Thanos serves, counted while its answer comes.

use super::{in_file::GROUP, stores::Store};
use crate::report::{MAX_MISSING, ThanosReport};

/// Counts the stores of one answer.
#[derive(Debug)]
pub struct Served {
    /// The addresses that Thanos has to list, sorted, each with what was found.
    wanted: Vec<(String, Listed)>,
    healthy: usize,
    unhealthy: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    No,
    Healthy,
    Unhealthy,
}

// === impl Served ===

impl Served {
    /// Nothing was listed yet of what is `wanted`, which is sorted.
    pub fn new(wanted: Vec<String>) -> Self {
        let wanted = wanted.into_iter().map(|address| (address, Listed::No)).collect();
        Self { wanted, healthy: 0, unhealthy: 0 }
    }

    /// Thanos lists it.
    pub fn lists(&mut self, store: Store<'_>) {
        let listed = match store.is_healthy {
            true => {
                self.healthy += 1;
                Listed::Healthy
            }
            false => {
                self.unhealthy += 1;
                Listed::Unhealthy
            }
        };
        if let Ok(index) = self.wanted.binary_search_by(|(address, _)| address.as_str().cmp(store.name)) {
            self.wanted[index].1 = listed;
        }
    }

    /// What there is to tell.
    pub fn report(&self) -> ThanosReport {
        let count = |of| self.wanted.iter().filter(|(_, listed)| *listed == of).count();
        let missing = self.wanted.iter().filter(|(_, listed)| *listed == Listed::No);
        ThanosReport {
            error: None,
            healthy: self.healthy,
            unhealthy: self.unhealthy,
            served: count(Listed::Healthy),
            failing: count(Listed::Unhealthy),
            missing: count(Listed::No),
            missing_addresses: missing
                .take(MAX_MISSING)
                .map(|(address, _)| address.strip_prefix(GROUP).unwrap_or(address).to_owned())
                .collect(),
            unreachable: None,
        }
    }

    /// What is wanted and not reached, sorted.
    pub fn unreached(&self) -> impl Iterator<Item = &str> {
        let unreached = self.wanted.iter().filter(|(_, listed)| *listed != Listed::Healthy);
        unreached.map(|(address, _)| address.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(wanted: &[&str], listed: &[(&str, bool)]) -> ThanosReport {
        let mut served = Served::new(wanted.iter().map(|&address| address.to_owned()).collect());
        listed.iter().for_each(|&(name, is_healthy)| served.lists(Store { name, is_healthy }));
        served.report()
    }

    #[test]
    fn what_the_file_names_is_served_failing_or_missing_and_all_stores_are_counted() {
        let listed = [("a:1", true), ("b:1", false), ("10.0.0.7:10901", true), ("10.0.0.8:10901", false)];
        assert_eq!(
            served(&["a:1", "b:1", "c:1"], &listed),
            ThanosReport {
                error: None,
                healthy: 2,
                unhealthy: 2,
                served: 1,
                failing: 1,
                missing: 1,
                missing_addresses: vec!["c:1".to_owned()],
                unreachable: None,
            }
        );
    }

    #[test]
    fn of_many_that_are_missing_the_first_are_named() {
        let wanted: Vec<String> = (0..9).map(|index| format!("a{index}:1")).collect();
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let report = served(&wanted, &[]);
        assert_eq!((report.missing, report.missing_addresses.len()), (9, MAX_MISSING));
        assert_eq!(report.missing_addresses[0], "a0:1");
    }
}
